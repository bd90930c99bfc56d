"""The three layouts in which spconv has stored a convolution's weight, and which one came.

    KRSC   [C_out, *k, C_in]   spconv 2.2 and later, 2.1 for its implicit-GEMM kernels
    RSKC   [*k, C_out, C_in]   2.0, and 2.1 for its native kernels
    RSCK   [*k, C_in, C_out]   1.x, mmcv, and what followed them

A layer whose kernel has one tap multiplies by `weight.view(C_in, C_out)` in every version, whatever
its layout says, so its numbers are carried over as they lie in memory.
"""

from dataclasses import dataclass
from weakref import ref

import torch
from torch import Tensor, nn

LAYOUTS = ("KRSC", "RSCK", "RSKC")  # of two that fit, the earlier one is the likelier


@dataclass(frozen=True)
class WeightShape:
    """What a layer expects of its weight.

    Args:
        out_channels: C_out.
        kernel_size: D ints.
        in_channels: C_in, of one group.
        pointwise: whether the layer multiplies by the weight as it lies in memory.
    """

    out_channels: int
    kernel_size: tuple[int, ...]
    in_channels: int
    pointwise: bool

    def stored(self, layout: str) -> tuple[int, ...]:
        """The shape of the weight in a layout."""
        k, out, inp = self.kernel_size, self.out_channels, self.in_channels
        return {"KRSC": (out, *k, inp), "RSKC": (*k, out, inp), "RSCK": (*k, inp, out)}[layout]

    def fitting(self, weight: Tensor) -> list[str]:
        """The layouts that a stored weight can have by its shape."""
        return [layout for layout in LAYOUTS if self.stored(layout) == tuple(weight.shape)]

    def turned(self, weight: Tensor, layout: str, other: str) -> Tensor:
        """A weight in one layout, in another."""
        return weight if layout == other else self.from_krsc(self.to_krsc(weight, layout), other)

    def from_krsc(self, weight: Tensor, layout: str) -> Tensor:
        """A weight in KRSC, in another layout."""
        if layout == "KRSC":
            return weight
        if self.pointwise:
            return weight.reshape(self.stored(layout))
        last = weight.movedim(0, -2)  # RSKC
        return (last if layout == "RSKC" else last.transpose(-1, -2)).contiguous()

    def to_krsc(self, weight: Tensor, layout: str) -> Tensor:
        """A weight in some layout, in KRSC."""
        if layout == "KRSC":
            return weight
        if self.pointwise:
            return weight.reshape(self.stored("KRSC"))
        last = weight if layout == "RSKC" else weight.transpose(-1, -2)
        return last.movedim(-2, 0).contiguous()


@dataclass(frozen=True, eq=False)
class _Guess:
    """A weight whose shape several layouts have, as it was taken."""

    layer: ref[nn.Module]
    shape: WeightShape
    fitting: list[str]
    chosen: str
    own: str

    def corrected(self, shown: str) -> None:
        """Take the layer's weight anew, in the layout that another weight has shown."""
        layer = self.layer()
        if layer is None or shown == self.chosen or shown not in self.fitting:
            return
        weight: Tensor = layer.weight  # type: ignore[assignment]
        with torch.no_grad():
            stored = self.shape.turned(weight, self.own, self.chosen)
            weight.copy_(self.shape.turned(stored, shown, self.own))


class Load:
    """What one loading of a checkpoint has shown about the layout of its weights.

    Every layer is handed a dict of its own and the same list of errors, so the list tells loadings
    apart.
    """

    def __init__(self) -> None:
        self._errors: list | None = None
        self._shown: str | None = None
        self._guesses: list[_Guess] = []

    def take(
        self,
        layer: nn.Module,
        weight: Tensor,
        shape: WeightShape,
        errors: list,
        said: str | None,
        own: str,
    ) -> Tensor:
        """A stored weight in a layer's own layout; as it is where no layout has its shape.

        Where several fit (as many channels in as out), `said` decides if it is one of them; then
        what another weight of this loading shows, be it before this one or after; then `own`; then
        the likelier one.

        Args:
            layer: whose `weight` it becomes.
            weight: as stored.
            shape: what the layer expects.
            errors: the list of this loading.
            said: the layout that somebody names, if any.
            own: the layer's layout.
        """
        if self._errors is not errors:
            self._errors, self._shown, self._guesses = errors, None, []
        fitting = shape.fitting(weight)
        if not fitting:
            return weight
        sure = said if said in fitting else self._shown
        chosen = next((name for name in (sure, own) if name in fitting), fitting[0])
        if len(fitting) > 1 and chosen != sure:
            self._guesses.append(_Guess(ref(layer), shape, fitting, chosen, own))
        elif len(fitting) == 1 and not shape.pointwise and self._shown is None:
            self._shown = chosen
            for guess in self._guesses:
                guess.corrected(chosen)
            self._guesses = []
        return shape.turned(weight, chosen, own)


LOAD = Load()


def native(weight: Tensor) -> Tensor:
    """[K, C_in/groups, C_out] from KRSC [C_out, *k, C_in/groups]."""
    out_channels, in_channels = weight.shape[0], weight.shape[-1]
    return weight.reshape(out_channels, -1, in_channels).permute(1, 2, 0)
