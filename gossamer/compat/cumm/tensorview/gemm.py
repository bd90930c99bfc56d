"""The activations that upstream fuses into a product."""

from enum import Enum


class Activation(Enum):
    """What is applied to a convolution's sum, after its bias."""

    None_ = 0
    ReLU = 1
    Sigmoid = 2
    LeakyReLU = 3

    def __int__(self) -> int:
        return self.value

    __index__ = __int__
