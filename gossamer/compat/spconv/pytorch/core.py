"""SparseConvTensor, and the rulebooks it carries under their indice keys."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import ProxyableClassMeta  # type: ignore[attr-defined]

from gossamer.checks import whole
from gossamer.compat.arrays.indice_data import ImplicitGemmIndiceData as ImplicitGemmIndiceData
from gossamer.compat.arrays.indice_data import IndiceData as IndiceData
from gossamer.compat.layers.fusing import Tail
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.passing import written
from gossamer.compat.layers.sizes import sizes
from gossamer.compat.rows.placed import Placed
from gossamer.compat.rows.rowwise import maps_rows_alike
from gossamer.compat.rows.scatter import scatter_nd as scatter_nd
from gossamer.compat.rows.sites import Rows, Sites
from gossamer.compat.rows.values import Values
from gossamer.compat.spconv.constants import SPCONV_FX_TRACE_MODE
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.tools import CUDAKernelTimer
from gossamer.ops.keys import pack
from gossamer.ops.rows import onto_grid
from gossamer.rulebook import to_be_kept


class ThrustSortAllocator:
    """Scratch memory by size, kept; nothing here needs any, but programs make one."""

    def __init__(self, device: torch.device):
        self.device = device
        self.alloced_objs: dict[int, Tensor] = {}

    def alloc(self, n: int) -> int:
        """The address of at least `n` bytes."""
        size = min((have for have in self.alloced_objs if have >= n), default=n)
        if size not in self.alloced_objs:
            self.alloced_objs[size] = torch.empty(size, dtype=torch.uint8, device=self.device)
        return self.alloced_objs[size].data_ptr()


def expand_nd(ndim: int, val: int | Sequence[int] | np.ndarray) -> list[int]:
    """`val` as a list of `ndim` ints, one int standing for all.

    Raises:
        AssertionError: another number of ints.
        TypeError: a number is not whole.
    """
    return sizes("a size", ndim, val)


class SparseConvTensor(metaclass=ProxyableClassMeta):
    """Features on the sites of a grid, in the order of rows its caller gave.

    Args:
        features: [N, C].
        indices: [N, 1+D] int32, (batch, axes). Rows may repeat.
        spatial_shape: D ints, in any sequence, array or tensor.
        batch_size: B.
        grid, voxel_num: kept as they are.
        indice_dict: rulebooks by indice key. Default: none yet.
        benchmark: whether layers record their times in `benchmark_record`.
        permanent_thrust_allocator: whether to keep a ThrustSortAllocator.
        enable_timer: whether layers time themselves in `_timer`.
        force_algo: kept as it is.

    Raises:
        AssertionError: features or indices are not two-dimensional, indices are not int32, the
            number of axes differs, batch_size is below 1.
    """

    def __init__(
        self,
        features: Tensor,
        indices: Tensor,
        spatial_shape: Sequence[int] | np.ndarray | Tensor,
        batch_size: int,
        grid: Tensor | None = None,
        voxel_num: Tensor | None = None,
        indice_dict: dict | None = None,
        benchmark: bool = False,
        permanent_thrust_allocator: bool = False,
        enable_timer: bool = False,
        force_algo: ConvAlgo | None = None,
    ):
        if not SPCONV_FX_TRACE_MODE:
            _check(features, indices, spatial_shape, batch_size)
        self._values = Values(features)
        self._said: Tensor | None = indices
        self._placed: Placed | None = None
        self.spatial_shape = [whole("spatial_shape", v) for v in spatial_shape]
        self.batch_size = batch_size if SPCONV_FX_TRACE_MODE else int(batch_size)
        self.indice_dict = {} if indice_dict is None else indice_dict
        self.grid = torch.Tensor() if grid is None else grid
        self.voxel_num = voxel_num
        self.benchmark = benchmark
        self.benchmark_record: dict = {}
        allocator = ThrustSortAllocator(features.device) if permanent_thrust_allocator else None
        self.thrust_allocator = allocator
        self._timer = CUDAKernelTimer(enable_timer)
        self.force_algo = force_algo
        self.int8_scale: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"SparseConvTensor[shape={self.features.shape}]"

    @property
    def features(self) -> Tensor:
        """[N, C], in the order of `indices`."""
        return self._values.on_rows

    @features.setter
    def features(self, value: Tensor) -> None:
        raise ValueError(
            "features was assigned; a SparseConvTensor keeps its features; write "
            "x = x.replace_feature(features)"
        )

    @property
    def indices(self) -> Tensor:
        """[N, 1+D] int32, (batch, axes); may be assigned, and written into."""
        if self._said is None:
            assert self._placed is not None
            return self._placed.indices
        return self._said

    @indices.setter
    def indices(self, value: Tensor) -> None:
        self._said = value

    @property
    def _features(self) -> Tensor:
        return self.features

    @_features.setter
    def _features(self, value: Tensor) -> None:
        self._values = Values(value)

    @property
    def is_quantized(self) -> bool:
        """Whether features are torch.qint8."""
        return self.features.dtype == torch.qint8

    @property
    def spatial_size(self) -> np.integer:
        """The number of cells of the grid."""
        return np.prod(self.spatial_shape)

    def q_scale(self) -> float:
        """The scale of quantized features.

        Raises:
            ValueError: they are not quantized.
        """
        if self.is_quantized:
            return self.features.q_scale()
        raise ValueError(f"features are {self.features.dtype}; wanted a quantized tensor")

    def dequantize(self) -> "SparseConvTensor":
        """The same sites with features that are not quantized."""
        return self.replace_feature(self.features.dequantize())

    def replace_feature(self, feature: Tensor) -> "SparseConvTensor":
        """A new tensor with the same indices and rulebooks, and features [any, any]."""
        new = self._copied()
        new._values = Values(feature)
        return new

    def shadow_copy(self) -> "SparseConvTensor":
        """A new tensor that shares everything with this one, features and rulebooks included."""
        return self._copied()

    def _copied(self) -> "SparseConvTensor":
        # Without __init__, whose checks this has passed; a layer does this each time it runs.
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        return new

    def select_by_index(self, valid_indices: Tensor) -> "SparseConvTensor":
        """Only some rows, by a mask or by their numbers, and no rulebooks."""
        new = self.replace_feature(self.features[valid_indices])
        new.indices, new.indice_dict = self.indices[valid_indices], {}
        return new

    def minus(self) -> "SparseConvTensor":
        """The same sites with negated features."""
        return self.replace_feature(-self.features)

    @classmethod
    def from_dense(cls, x: Tensor) -> "SparseConvTensor":
        """The cells of `x` [B, *spatial_shape, C] where some channel is not zero, sorted."""
        x_sp = x.to_sparse(x.ndim - 1)
        indices = x_sp.indices().permute(1, 0).contiguous().int()
        return cls(x_sp.values(), indices, list(x_sp.shape[1:-1]), x_sp.shape[0])

    def find_indice_pair(self, key: str | None) -> IndiceData | ImplicitGemmIndiceData | None:
        """The rulebook under an indice key, or None."""
        return None if key is None else self.indice_dict.get(key)

    def dense(self, channels_first: bool = True) -> Tensor:
        """[B, C, *spatial_shape], or [B, *spatial_shape, C]; zero where there is no site.

        Of several rows at one place the last one counts.
        """
        return outside_graphs(self._on_grid, channels_first)

    def _on_grid(self, channels_first: bool) -> Tensor:
        sites = self._place().sites.coords
        shape = list(self.spatial_shape)
        cell = pack(sites.rows, [0] * len(shape), shape)
        values = self._values.onto(self._place().sites.rows, "last")
        grid = onto_grid(values, cell, self.batch_size, int(np.prod(shape, dtype=object)))
        grid = grid.unflatten(2, shape)
        return grid if channels_first else grid.movedim(1, -1).contiguous()

    def __add__(self, other: "SparseConvTensor | Tensor") -> "SparseConvTensor":
        return self.replace_feature(self.features + self._summand(other))

    __radd__ = __add__

    def __iadd__(self, other: "SparseConvTensor | Tensor") -> "SparseConvTensor":
        self._features = self.features + self._summand(other)
        return self

    def _summand(self, other: "SparseConvTensor | Tensor") -> Tensor:
        assert isinstance(other, (SparseConvTensor, Tensor)), (
            f"got a {type(other).__name__} to add; wanted a SparseConvTensor or a tensor"
        )
        if isinstance(other, Tensor):
            return other
        if other.indices is not self.indices and not torch.equal(other.indices, self.indices):
            raise ValueError(
                f"the tensors to add have different indices ({len(self.indices)} and "
                f"{len(other.indices)} rows); wanted the same; functional.sparse_add makes a union"
            )
        return other.features

    def _place(self) -> Placed:
        """Where the rows lie now, whatever was written into `indices` since it was last asked."""
        placed = self._placed
        if placed is None or not self._holds(placed):
            with to_be_kept():
                sites = Sites.of(self.indices, self.spatial_shape, self.batch_size)
            self._placed = placed = Placed(sites, self.indices)
        return placed

    def _holds(self, placed: Placed) -> bool:
        if not placed.says(self._said):
            return False
        coords = placed.sites.coords
        return (coords.spatial_shape, coords.batch_size) == (
            tuple(self.spatial_shape),
            self.batch_size,
        )

    def _count(self) -> int:
        """N, without making a tensor of indices."""
        return len(self._placed if self._said is None else self._said)  # type: ignore[arg-type]

    def _relocate(self, placed: Placed) -> None:
        """Lie on `placed`, whose sites are this tensor's own."""
        self._placed = placed

    def _written(self, values: Tensor, rows: Rows, placed: Placed) -> "SparseConvTensor":
        """`values` [M, C], as a rulebook wrote them whose rows lie so, on the sites of `placed`."""
        new = self._copied()
        new._values = written(values, rows)
        new._said, new._placed = None, placed
        new.spatial_shape = list(placed.sites.coords.spatial_shape or ())
        return new

    def _mapped(self, links: Sequence[nn.Module]) -> tuple["SparseConvTensor", int]:
        """The same sites with what the first of `links` makes of the features.

        Returns:
            The result, and how many of `links` it is the result of.
        """
        rows, values = self._values.rows, self._values.at_hand
        tail = Tail.of(links, values.shape[1]) if values.ndim == 2 else None
        together = None if tail is None else tail.on(values)
        if together is None and rows is not None and not maps_rows_alike(links[0]):
            rows, values = None, self.features
        result = links[0](values) if together is None else together
        new = self._copied()
        if result is not values:  # a module that writes in place is seen by both
            new._values = Values(result, rows)
        return new, 1 if together is None or tail is None else tail.length

    def __getstate__(self) -> dict:
        """With the features on rows, which need nothing else to be read."""
        own = {"_values": Values(self.features), "_said": self.indices, "_placed": None}
        return {**self.__dict__, **own}

    def __setstate__(self, state: dict) -> None:
        """Take the state of a tensor of ours, or of one that spconv itself has pickled."""
        own = dict(state)
        if "_values" not in own:
            own["_values"] = Values(own.pop("_features"))
            own["_said"], own["_placed"] = own.pop("indices"), None
        vars(self).update(own)


def _check(
    features: Tensor,
    indices: Tensor,
    spatial_shape: Sequence[int] | np.ndarray | Tensor,
    batch_size: int,
) -> None:
    for name, value in (("features", features), ("indices", indices)):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} is a {type(value).__name__}; wanted a torch.Tensor, for instance by "
                "torch.from_numpy"
            )
    assert features.ndim == 2, f"features has shape {tuple(features.shape)}; wanted [N, C]"
    assert indices.ndim == 2, f"indices has shape {tuple(indices.shape)}; wanted [N, 1 + D]"
    assert len(spatial_shape) == indices.shape[1] - 1, (
        f"spatial shape must equal to ndim: it is {list(spatial_shape)} and indices has shape "
        f"{tuple(indices.shape)}; wanted one int for every column after the batch"
    )
    assert indices.dtype == torch.int32, (
        f"indices is {indices.dtype}; only support int32; write indices.int()"
    )
    assert batch_size > 0, f"batch_size is {batch_size}; wanted 1 or more"
