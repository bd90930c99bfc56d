"""The batch norm and activation behind a layer, done in the pass over memory that is under way.

Only modules that are exactly torch.nn's, and on which nobody has hung a hook, are taken together;
the numbers are those of one after the other, up to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from gossamer.nn.batch_statistics import frozen_affine, is_frozen, normalised, takes
from gossamer.nn.chain import is_bare
from gossamer.nn.product import wants_gradient
from gossamer.ops.conv import Epilogue
from gossamer.ops.rows import affine

NORMS = (nn.BatchNorm1d, nn.SyncBatchNorm)
RELUS = (nn.ReLU, nn.LeakyReLU)


@dataclass(frozen=True, eq=False)
class Tail:
    """A batch norm and an activation at the head of what is still to come, if they are there.

    Args:
        norm: of as many channels as there are.
        slope: what the activation multiplies negative numbers by; 1 where there is none.
        length: how many modules these are.
    """

    norm: nn.BatchNorm1d | nn.SyncBatchNorm | None
    slope: float
    length: int

    @classmethod
    def of(cls, links: Sequence[nn.Module | None], channels: int) -> "Tail":
        """The tail at the head of `links`, for features of `channels`."""
        norm, slope, length = None, 1.0, 0
        if length < len(links) and _is(links[length], NORMS):
            if links[0].num_features == channels:  # type: ignore[union-attr]
                norm, length = links[0], 1
        if length < len(links) and _is(links[length], RELUS):
            below = float(getattr(links[length], "negative_slope", 0.0))
            if below >= 0:
                slope, length = below, length + 1
        return cls(norm, slope, length)  # type: ignore[arg-type]

    def as_epilogue(self, bias: Tensor | None, dtype, *others: Tensor | None) -> Epilogue | None:
        """The tail as the last steps of a convolution; None where it can't be.

        Args:
            bias: [C] of the convolution.
            dtype: of the features.
            others: what else might want a gradient.
        """
        norm = self.norm
        learned = () if norm is None else (norm.weight, norm.bias)
        if not self.length or wants_gradient(bias, *others, *learned):
            return None
        activation = "none" if self.slope == 1 else "leaky_relu"
        if norm is None:
            return Epilogue(shift=bias, activation=activation, slope=self.slope)
        if not is_frozen(norm):
            return None
        scale, shift = frozen_affine(norm, bias, dtype)
        return Epilogue(scale, shift, activation=activation, slope=self.slope)

    def on(self, values: Tensor) -> Tensor | None:
        """What a batch norm with an activation makes of [N, C]; None where they must be apart."""
        norm = self.norm
        if norm is None or self.length < 2:
            return None
        if is_frozen(norm):
            if wants_gradient(values, norm.weight, norm.bias):
                return None
            return affine(values, *frozen_affine(norm, None, values.dtype), None, self.slope)
        # torch refuses to normalise a single row.
        if type(norm) is not nn.BatchNorm1d or len(values) < 2 or not takes(norm, values):
            return None
        return normalised(norm, values, None, self.slope)


def _is(link: nn.Module | None, kinds: tuple[type, ...]) -> bool:
    return link is not None and type(link) in kinds and is_bare(link)
