"""The activations that upstream fuses into a product, under the name that it pickles them by."""

from typing import ClassVar


class Activation:
    """What is applied to a convolution's sum, after its bias.

    One is equal to every other of its value, and to nothing else. It is no Enum, because upstream
    pickles an object without a value, and then its number, which no Enum can be read from.

    Args:
        value: 0 for None_, 1 for ReLU, 2 for Sigmoid, 3 for LeakyReLU.

    Raises:
        ValueError: it is another number.
    """

    None_: ClassVar["Activation"]
    ReLU: ClassVar["Activation"]
    Sigmoid: ClassVar["Activation"]
    LeakyReLU: ClassVar["Activation"]
    __members__: ClassVar[dict[str, "Activation"]] = {}

    def __init__(self, value: int):
        if value not in range(len(NAMES)):
            raise ValueError(f"value is {value!r}; wanted an int from 0 to {len(NAMES) - 1}")
        self._value = int(value)

    @property
    def value(self) -> int:
        """Its number."""
        return self._value

    @property
    def name(self) -> str:
        """What it is called."""
        return NAMES[self._value]

    def __int__(self) -> int:
        return self._value

    __index__ = __hash__ = __int__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self._value == other._value

    def __repr__(self) -> str:
        return f"<Activation.{self.name}: {self._value}>"

    def __str__(self) -> str:
        return f"Activation.{self.name}"

    def __reduce__(self) -> tuple:
        return Activation, (self._value,)

    def __setstate__(self, value: int) -> None:
        """Takes the number that follows an object without one, as upstream pickles them."""
        self.__init__(value)


NAMES = ("None_", "ReLU", "Sigmoid", "LeakyReLU")
for _number, _name in enumerate(NAMES):
    Activation.__members__[_name] = Activation(_number)
    setattr(Activation, _name, Activation.__members__[_name])
