"""Features on voxels, and features on points."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse14.maps import KernelMap
from gossamer.compat.torchsparse14.places import Place
from gossamer.compat.torchsparse14.utils.utils import make_ntuple
from gossamer.compat.voxelnets.given import check_kind

__all__ = ["PointTensor", "SparseTensor"]

Move = Callable[[Tensor], Tensor]


class SparseTensor:
    """Features on voxels, in the order of rows its caller gave.

    Args:
        feats: [N, C].
        coords: [N, 4] int, (x, y, z, batch), in voxels of the input whatever the stride. Rows may
            repeat.
        stride: edge of a voxel in voxels of the input, one int or three.

    Attributes:
        cmaps: the coords of every stride met so far, by stride. Tensors of one network share it;
            transposed convolutions find their way back in it.
        kmaps: the kernel maps built so far, by (stride, kernel_size, stride of the kernel,
            dilation). Shared likewise.
    """

    def __init__(self, feats: Tensor, coords: Tensor, stride: int | Sequence[int] = 1):
        self._values = Values(feats)
        self._place: Place | None = None
        self.coords = coords
        self.stride = make_ntuple(stride, 3, "stride")
        self.cmaps: dict[tuple[int, ...], Tensor] = {}
        self.kmaps: dict[tuple[Any, ...], Any] = {}

    @property
    def feats(self) -> Tensor:
        """[N, C], in the order of `coords`."""
        return self._values.on_rows

    @feats.setter
    def feats(self, feats: Tensor) -> None:
        self._values = Values(feats)

    @property
    def F(self) -> Tensor:
        """`feats`."""
        return self.feats

    @F.setter
    def F(self, feats: Tensor) -> None:
        self.feats = feats

    @property
    def C(self) -> Tensor:
        """`coords`."""
        return self.coords

    @C.setter
    def C(self, coords: Tensor) -> None:
        self.coords = coords

    @property
    def s(self) -> tuple[int, ...]:
        """`stride`."""
        return self.stride

    @s.setter
    def s(self, stride: int | Sequence[int]) -> None:
        self.stride = make_ntuple(stride, 3, "stride")

    def cpu(self) -> "SparseTensor":
        """This tensor, with everything it holds moved to the CPU."""
        return self._moved(Tensor.cpu)

    def cuda(self) -> "SparseTensor":
        """This tensor, with everything it holds moved to the GPU."""
        return self._moved(Tensor.cuda)

    def to(self, device: str | torch.device, non_blocking: bool = True) -> "SparseTensor":
        """This tensor, with everything it holds moved to a device."""
        return self._moved(lambda value: value.to(device, non_blocking=non_blocking))

    def half(self) -> "SparseTensor":
        """This tensor, with float16 features."""
        self.feats = self.feats.half()
        return self

    def detach(self) -> "SparseTensor":
        """This tensor, with features that are constants."""
        self.feats = self.feats.detach()
        return self

    def __add__(self, other: "SparseTensor") -> "SparseTensor":
        """The sums of features on the same rows.

        Raises:
            ValueError: the coords differ.
        """
        return joined((self, other), torch.add)

    def _moved(self, move: Move) -> "SparseTensor":
        self.feats = move(self.feats)
        old, self.coords = self.coords, move(self.coords)
        if self.coords is not old:
            # Its own maps: the tensors it shared them with stay where they are.
            others = (
                (stride, self.coords if c is old else move(c)) for stride, c in self.cmaps.items()
            )
            self.cmaps, self.kmaps, self._place = dict(others), {}, None
        return self

    def _where(self) -> Place:
        """Where the rows lie now, whatever was written into `coords` since it was last asked."""
        if self._place is None or not self._place.says(self.coords):
            self._place = place_of(self.coords, self.kmaps)
        return self._place

    def _with(self, values: Values) -> "SparseTensor":
        """A tensor on the same rows, which shares the maps."""
        new = SparseTensor.__new__(SparseTensor)
        new._values, new._place = values, self._place
        new.coords, new.stride = self.coords, self.stride
        new.cmaps, new.kmaps = self.cmaps, self.kmaps
        return new

    def _on(self, place: Place, stride: tuple[int, ...], values: Values) -> "SparseTensor":
        """A tensor on other rows, which shares the maps."""
        new = self._with(values)
        new._place, new.coords, new.stride = place, place.coords, stride
        return new

    def __copy__(self) -> "SparseTensor":
        """A tensor that shares everything with this one."""
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        return new

    def __getstate__(self) -> dict:
        """As upstream has it, but for kernel maps, which cost less to build than to send."""
        rest = {k: v for k, v in vars(self).items() if k not in ("_values", "_place")}
        return {**rest, "feats": self.feats, "kmaps": {}}

    def __setstate__(self, state: dict) -> None:
        """Take the state of a tensor of ours, or of one that TorchSparse itself has pickled."""
        own = dict(state)
        vars(self).update(_values=Values(own.pop("feats")), _place=None, **own)


def place_of(coords: Tensor, kmaps: dict[tuple[Any, ...], Any]) -> Place:
    """Where the rows of `coords` lie: at a place that some kernel map knows, or a new one.

    Raises:
        TypeError: coords is not a tensor of int32 or int64.
        ValueError: it is not [N, 4], a batch index is negative, or the range is too large.
    """
    maps = [kernel_map for kernel_map in kmaps.values() if isinstance(kernel_map, KernelMap)]
    ends = [end for kernel_map in maps for end in (kernel_map.source, kernel_map.target)]
    for end in ends:
        if end.says(coords):
            return end
    return Place.of(coords)


def joined(tensors: Sequence[SparseTensor], function: Callable[..., Tensor]) -> SparseTensor:
    """What a function of rows makes of several tensors on the same rows, with the first's maps.

    Raises:
        TypeError: one of them is something else.
        ValueError: there is none, or their coords differ.
    """
    if not tensors:
        raise ValueError("inputs is empty; wanted one tensor or more")
    for x in tensors:
        check_kind(x, SparseTensor)
    first, *others = tensors
    for other in others:
        _check_alike(first, other)
    rows = first._values.rows
    if all(x._values.rows is rows for x in others):
        return first._with(Values(function(*(x._values.at_hand for x in tensors)), rows))
    return first._with(Values(function(*(x.feats for x in tensors))))


def _check_alike(first: SparseTensor, other: SparseTensor) -> None:
    if other.coords is first.coords:
        return
    if len(other.coords) != len(first.coords) or not torch.equal(other.coords, first.coords):
        raise ValueError(
            f"the tensors have different coords: {len(first.coords)} rows at stride "
            f"{first.stride} and {len(other.coords)} at {other.stride}; wanted the same rows in "
            "the same order; where both come from strided layers, give these one kernel size"
        )


class PointTensor:
    """Features on points, and what is known of the voxels around them.

    Args:
        feats: [N, C].
        coords: [N, 4], (x, y, z, batch).
        idx_query: rows of voxels by stride. Default: none yet.
        weights: their weights by stride. Default: none yet.

    Attributes:
        additional_features: "idx_query" and "counts", each by stride: the voxel a point lies in,
            and how many points each voxel has.
    """

    def __init__(
        self,
        feats: Tensor,
        coords: Tensor,
        idx_query: dict | None = None,
        weights: dict | None = None,
    ):
        self.F = feats
        self.C = coords
        self.idx_query = {} if idx_query is None else idx_query
        self.weights = {} if weights is None else weights
        self.additional_features: dict[str, dict] = {"idx_query": {}, "counts": {}}

    def cpu(self) -> "PointTensor":
        """This tensor, with everything it holds moved to the CPU."""
        return self._moved(Tensor.cpu)

    def cuda(self) -> "PointTensor":
        """This tensor, with everything it holds moved to the GPU."""
        return self._moved(Tensor.cuda)

    def to(self, device: str | torch.device, non_blocking: bool = True) -> "PointTensor":
        """This tensor, with everything it holds moved to a device."""
        return self._moved(lambda value: value.to(device, non_blocking=non_blocking))

    def detach(self) -> "PointTensor":
        """This tensor, with features and coordinates that are constants."""
        self.F, self.C = self.F.detach(), self.C.detach()
        return self

    def __add__(self, other: "PointTensor") -> "PointTensor":
        """The sums of features on the same points.

        Raises:
            ValueError: there are not as many points.
        """
        if self.F.shape != other.F.shape:
            raise ValueError(
                f"the features have shapes {tuple(self.F.shape)} and {tuple(other.F.shape)}; "
                "wanted those of the same points"
            )
        new = PointTensor(self.F + other.F, self.C, self.idx_query, self.weights)
        new.additional_features = self.additional_features
        return new

    def _moved(self, move: Move) -> "PointTensor":
        self.F = move(self.F)
        old, self.C = self.C, move(self.C)
        if self.C is not old:
            # Its own caches: the tensors it shared them with stay where they are.
            self.idx_query = _each(self.idx_query, move)
            self.weights = _each(self.weights, move)
            self.additional_features = _each(self.additional_features, move)
        return self


def _each(kept: Any, move: Move) -> Any:
    if isinstance(kept, dict):
        return {key: _each(value, move) for key, value in kept.items()}
    return move(kept) if isinstance(kept, Tensor) else kept
