"""SparseTensor and PointTensor."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gossamer.checks import whole
from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse.utils.tensor_cache import TensorCache, cache_of_a_new_tensor
from gossamer.compat.torchsparse.utils.to_dense import to_dense
from gossamer.compat.torchsparse.utils.utils import make_ntuple
from gossamer.compat.voxelnets.given import check_kind, check_rows
from gossamer.compat.voxelnets.places import Place, place_of, rows_alike
from gossamer.compat.voxelnets.values import summed

__all__ = ["SparseTensor"]


class _Chosen:
    """The choice of this process."""

    negative = False


def get_allow_negative_coordinates() -> bool:
    """Whether strided and generative layers keep outputs below 0."""
    return _Chosen.negative


def set_allow_negative_coordinates(allow_negative_coordinates: bool) -> None:
    """Let strided and generative layers keep outputs below 0, or refuse coordinates there."""
    _Chosen.negative = bool(allow_negative_coordinates)


class SparseTensor:
    """Features on the sites of a grid, in the order of rows its caller gave.

    Nothing is checked before a layer needs sites: a subclass may hold points.

    Args:
        feats: [N, C].
        coords: [N, 4] int32, (batch, x, y, z); may be assigned, and written into.
        stride: the edge of a voxel in voxels of the first tensor, one int or 3.
        spatial_range: (B, X, Y, Z), the grid that every row lies in. Default: the extent of the
            data, wherever a layer needs one.

    Attributes:
        feats, F: [N, C].
        coords, C: [N, 4].
        stride, s: 3 ints.
        spatial_range: 4 ints, or None.
        _caches: what this tensor shares with those made from it.
    """

    def __init__(
        self,
        feats: Tensor,
        coords: Tensor,
        stride: int | Sequence[int] = 1,
        spatial_range: Sequence[int] | None = None,
    ):
        self._values = Values(feats)
        self._said: Tensor | None = coords
        self._placed: Place | None = None
        self.stride = make_ntuple(stride, 3, "stride")
        self.spatial_range: tuple[int, ...] | None = None
        if spatial_range is not None:
            self.spatial_range = _range_of(spatial_range)
        self._caches = cache_of_a_new_tensor()

    @property
    def feats(self) -> Tensor:
        """[N, C], in the order of `coords`."""
        return self._values.on_rows

    @feats.setter
    def feats(self, feats: Tensor) -> None:
        self._values = Values(feats)

    F = feats

    @property
    def coords(self) -> Tensor:
        """[N, 4], (batch, x, y, z)."""
        if self._said is None and self._placed is not None:
            return self._placed.indices
        return self._said  # type: ignore[return-value]  # None if a program gave that

    @coords.setter
    def coords(self, coords: Tensor) -> None:
        self._said = coords

    C = coords

    @property
    def s(self) -> tuple[int, ...]:
        """The stride, 3 ints."""
        return self.stride

    @s.setter
    def s(self, stride: int | Sequence[int]) -> None:
        self.stride = make_ntuple(stride, 3, "stride")

    def cpu(self):
        """This tensor, moved in place."""
        return self.to("cpu")

    def cuda(self):
        """This tensor, moved in place."""
        return self.to("cuda")

    def half(self):
        """This tensor with features of torch.float16, in place."""
        self.feats = self.feats.half()
        return self

    def detach(self):
        """This tensor cut off from the graph of gradients, in place."""
        self.feats = self.feats.detach()
        return self

    def to(self, device: Any, non_blocking: bool = True):
        """This tensor, moved in place."""
        coords = self.coords.to(device, non_blocking=non_blocking)
        feats = self.feats.to(device, non_blocking=non_blocking)
        if coords is not self.coords:
            self.coords = coords
        self.feats = feats
        return self

    def dense(self) -> Tensor:
        """[B, X, Y, Z, C]: channels last, 0 where there is no row.

        Raises:
            AssertionError: there is no spatial_range.
        """
        assert self.spatial_range is not None, (
            "spatial_range is None; a dense tensor needs to know its size; build the tensor with "
            "SparseTensor(feats, coords, stride, spatial_range=(B, X, Y, Z))"
        )
        return to_dense(self.feats, self.coords, self.spatial_range)

    def __add__(self, other: "SparseTensor | Tensor | float") -> "SparseTensor":
        if not isinstance(other, SparseTensor):
            return self._with(Values(self.feats + other))
        check_same_rows([self, other], "tensors to add")
        return self._with(summed(self._values, other._values))

    __radd__ = __add__

    def __repr__(self) -> str:
        shape = getattr(self.feats, "shape", None)
        return f"{type(self).__name__}(feats={shape}, stride={self.stride})"

    def _with(self, values: Values) -> "SparseTensor":
        """A tensor on the same rows, which shares the caches."""
        new = object.__new__(SparseTensor)
        vars(new).update(
            _values=values,
            _said=self._said,
            _placed=self._placed,
            stride=self.stride,
            spatial_range=self.spatial_range,
            _caches=self._caches,
        )
        return new

    def _led_to(
        self, values: Values, place: Place, stride: tuple[int, ...], spatial_range: tuple | None
    ) -> "SparseTensor":
        """A layer's output, which shares the caches."""
        new = self._with(values)
        new._said, new._placed = None, place
        new.stride, new.spatial_range = stride, spatial_range
        return new

    def _check_rows(self) -> None:
        """Refuse features that are not [N, C] on the rows of coords.

        Raises:
            TypeError: they are no tensor.
            ValueError: they have other axes, or another number of rows.
        """
        check_rows(self._values, self._placed if self._said is None else self._said)

    def _range(self) -> tuple[int, ...] | None:
        """(B, X, Y, Z), without what programs put behind.

        Raises:
            TypeError: they are no whole numbers.
            ValueError: there are fewer numbers.
        """
        given = self.spatial_range
        if given is not None and len(given) < 4:
            raise ValueError(f"spatial_range is {given}; wanted (B, X, Y, Z), the batch size first")
        return None if given is None else tuple(whole("spatial_range", n) for n in given[:4])

    def _place(self) -> Place:
        """Where the rows lie now, whatever was written into `coords` since it was last asked.

        Raises:
            TypeError: coords are no integers.
            ValueError: they have no four columns, or lie outside of spatial_range.
        """
        placed = self._placed
        if placed is None or not placed.says(self._said):
            seen = self._caches.hashmaps.setdefault(self.stride, [])
            self._placed = placed = place_of(self.coords, 3, seen)
        placed.check(self._range(), get_allow_negative_coordinates())
        return placed

    def __getstate__(self) -> dict:
        """With the features on rows, which need nothing else to be read."""
        own = {"_values": Values(self.feats), "_said": self.coords, "_placed": None}
        return {**self.__dict__, **own}

    def __setstate__(self, state: dict) -> None:
        """Take the state of a tensor of ours, or of one that TorchSparse itself has pickled."""
        own = dict(state)
        if "_values" not in own:
            own["_values"], own["_said"] = Values(own.pop("feats")), own.pop("coords")
            own.update(_placed=None, _caches=TensorCache())
        vars(self).update(own)


def _range_of(given: Sequence[int]) -> tuple[int, ...]:
    if not hasattr(given, "__len__"):
        raise TypeError(f"spatial_range is {given!r}; wanted (B, X, Y, Z), the batch size first")
    return make_ntuple(given, len(given), "spatial_range")


def check_same_rows(tensors: Sequence[SparseTensor], what: str) -> None:
    """Refuse tensors on different sites.

    Args:
        tensors: one or more.
        what: they are.

    Raises:
        TypeError: one of them is something else.
        ValueError: two of them have not the same coords, row by row.
    """
    first = tensors[0]
    for number, other in enumerate(tensors):
        check_kind(other, SparseTensor)
        if _on_one_place(first, other) or rows_alike(first.coords, other.coords):
            continue
        raise ValueError(
            f"{what} have different coords: number 0 has {len(first.coords)} rows at stride "
            f"{first.stride}, number {number} has {len(other.coords)} at stride {other.stride}"
            f"{'' if len(first.coords) != len(other.coords) else ', and they differ'}; wanted the "
            "same rows in the same order; torchsparse.generative_add makes a union, and in "
            'kmap_mode "hashmap" with downsample_mode "minkowski" strided layers with different '
            "kernels lead to the same sites"
        )


def _on_one_place(one: SparseTensor, other: SparseTensor) -> bool:
    """Whether both are known to have the same rows, without a look at them."""
    placed = one._placed is not None and one._placed is other._placed
    return placed and one._said is other._said


class PointTensor:
    """Features of points, and what programs keep of them.

    Args:
        feats: [N, C].
        coords: [N, 4].
        idx_query, weights: dicts. Default: new ones.
    """

    def __init__(self, feats: Tensor, coords: Tensor, idx_query: dict | None = None, weights=None):
        self.F = feats
        self.C = coords
        self.idx_query = {} if idx_query is None else idx_query
        self.weights = {} if weights is None else weights
        self.additional_features: dict[str, dict] = {"idx_query": {}, "counts": {}}

    def cuda(self):
        """These points, moved in place."""
        return self.to("cuda")

    def detach(self):
        """These points cut off from the graph of gradients, in place."""
        self.F, self.C = self.F.detach(), self.C.detach()
        return self

    def to(self, device: Any, non_blocking: bool = True):
        """These points, moved in place."""
        self.F = self.F.to(device, non_blocking=non_blocking)
        self.C = self.C.to(device, non_blocking=non_blocking)
        return self

    def __add__(self, other: "PointTensor") -> "PointTensor":
        if not rows_alike(self.C, other.C):
            raise ValueError(
                f"points to add have different coords, {tuple(self.C.shape)} and "
                f"{tuple(other.C.shape)}; wanted the same rows in the same order"
            )
        new = PointTensor(self.F + other.F, self.C, self.idx_query, self.weights)
        new.additional_features = self.additional_features
        return new
