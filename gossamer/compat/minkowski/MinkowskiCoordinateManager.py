"""CoordinateManager: coordinates under keys, and which row of one map feeds which of another."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.checks import is_int
from gossamer.compat.coordmaps.atlas import Atlas
from gossamer.compat.coordmaps.fields import Field, points_of
from gossamer.compat.coordmaps.key import CoordinateMapKey, Name
from gossamer.compat.coordmaps.kinds import (
    CoordinateMapType,
    GPUMemoryAllocatorType,
    MinkowskiAlgorithm,
    RegionType,
)
from gossamer.compat.coordmaps.regions import Kernel, ints
from gossamer.compat.minkowski.MinkowskiCommon import StrideType

Maps = tuple[CoordinateMapKey, tuple[Tensor, Tensor]]


def set_coordinate_map_type(coordinate_map_type: CoordinateMapType) -> None:
    """Nothing: coordinates are kept where the caller's tensor lies."""


def set_gpu_allocator(backend: GPUMemoryAllocatorType) -> None:
    """Nothing: memory is always PyTorch's.

    Raises:
        AssertionError: it is no GPUMemoryAllocatorType.
    """
    assert isinstance(backend, GPUMemoryAllocatorType), (
        f"backend is {backend!r}; wanted a GPUMemoryAllocatorType"
    )


def set_memory_manager_backend(backend: GPUMemoryAllocatorType) -> None:
    """As `set_gpu_allocator`, which replaces it."""
    warnings.warn("set_memory_manager_backend is deprecated; use set_gpu_allocator", stacklevel=2)
    set_gpu_allocator(backend)


class CoordsManager:
    """The name that CoordinateManager had before 0.5.

    Raises:
        DeprecationWarning: always.
    """

    def __init__(self, *args, **kwargs):
        raise DeprecationWarning("CoordsManager is deprecated; use CoordinateManager")


class CoordinateManager:
    """The coordinates of tensors that may be added, joined or skipped to, under keys.

    Args:
        D: how many axes, 1 to 4.
        num_threads, coordinate_map_type, allocator_type: taken and not needed.
        minkowski_algorithm: kept as it is.

    Raises:
        ValueError: D is not 1 to 4.
    """

    def __init__(
        self,
        D: int = 0,
        num_threads: int = -1,
        coordinate_map_type: CoordinateMapType | None = None,
        allocator_type: GPUMemoryAllocatorType | None = None,
        minkowski_algorithm: MinkowskiAlgorithm | None = None,
    ):
        if not is_int(D) or not 1 <= D <= 4:
            raise ValueError(
                f"D is {D!r}; wanted 1 to 4 axes beside the batch; coordinates are [N, 1 + D], the "
                "batch index first"
            )
        self.D = int(D)
        self.minkowski_algorithm = minkowski_algorithm or MinkowskiAlgorithm.DEFAULT
        self._atlas = Atlas(self.D)
        self._elsewhere: dict[torch.device, CoordinateManager] = {}

    def insert_and_map(
        self, coordinates: Tensor, tensor_stride: StrideType = 1, string_id: str = ""
    ) -> Maps:
        """A new map, in the order of `coordinates`, those that come again left out.

        Args:
            coordinates: [R, 1+D] int, (batch, axes).
            tensor_stride: one int or D.
            string_id: part of the key; where there is that key already, a new one is made.

        Returns:
            key: the map's.
            maps: [N] int64, the first row at each coordinate; [R] int64, the map's row of each row.
        """
        stride = ints("tensor_stride", tensor_stride, self.D, 0)
        name, unique, back = self._atlas.insert(coordinates, stride, string_id)
        return _key(name), (unique, back)

    def insert_field(
        self, coordinates: Tensor, tensor_stride: StrideType, string_id: str = ""
    ) -> CoordinateMapKey:
        """Keep points [P, 1+D] under a key of their own."""
        points = points_of("coordinates", coordinates, self.D)
        stride = ints("tensor_stride", tensor_stride, self.D, 1)
        return _key(self._atlas.add_field(Field(stride, points), string_id))

    def field_to_sparse_insert_and_map(
        self,
        field_map_key: CoordinateMapKey,
        sparse_tensor_stride: StrideType,
        sparse_tensor_string_id: str = "",
    ) -> Maps:
        """A new map of the cells that points lie in; what it gives is as in `insert_and_map`."""
        stride = ints("sparse_tensor_stride", sparse_tensor_stride, self.D, 1)
        field = field_map_key.name
        name = self._atlas.voxels(field, stride, sparse_tensor_string_id)
        return _key(name), self._atlas.inserted[field, name]

    def exists_field_to_sparse(
        self, field_map_key: CoordinateMapKey, sparse_map_key: CoordinateMapKey
    ) -> bool:
        """Whether the map was made from that field."""
        return (field_map_key.name, sparse_map_key.name) in self._atlas.inserted

    def field_to_sparse_keys(self, field_map_key: CoordinateMapKey) -> list[CoordinateMapKey]:
        """The maps that were made from a field."""
        field = field_map_key.name
        return [_key(name) for one, name in self._atlas.inserted if one == field]

    def get_field_to_sparse_map(
        self, field_map_key: CoordinateMapKey, sparse_map_key: CoordinateMapKey
    ) -> tuple[Tensor, Tensor]:
        """For a map made from a field, the first point of each row and the row of each point.

        Raises:
            ValueError: it was not made from it.
        """
        if not self.exists_field_to_sparse(field_map_key, sparse_map_key):
            raise ValueError(
                f"{sparse_map_key} was not made from the field {field_map_key}; call "
                "field_to_sparse_map, which finds points in any map"
            )
        return self._atlas.inserted[field_map_key.name, sparse_map_key.name]

    def field_to_sparse_map(
        self, field_map_key: CoordinateMapKey, sparse_map_key: CoordinateMapKey
    ) -> tuple[Tensor, Tensor]:
        """[Q] int64 each: rows of a map, and the points of a field that lie in their cells."""
        row = self._atlas.row_of_point(field_map_key.name, sparse_map_key.name)
        points = (row >= 0).nonzero().squeeze(1)
        return row[points], points

    def stride(
        self, coordinate_map_key: CoordinateMapKey, stride: StrideType, string_id: str = ""
    ) -> CoordinateMapKey:
        """The key of a map's coordinates rounded down to multiples of `stride` tensor strides."""
        steps = ints("stride", stride, self.D, 1)
        return _key(self._atlas.stride(coordinate_map_key.name, steps, string_id))

    def origin(self) -> CoordinateMapKey:
        """The key of one row a sample, at the origin; samples are those that any map has."""
        return _key(self._atlas.origin())

    def origin_field(self) -> CoordinateMapKey:
        """As `origin`: samples of fields and of maps are the same."""
        return self.origin()

    def size(self, coordinate_map_key: CoordinateMapKey) -> int:
        """N, or the P of a field."""
        name = coordinate_map_key.name
        if name not in self._atlas.maps and name in self._atlas.fields:
            return len(self._atlas.fields[name])
        return len(self._atlas.at(name))

    def _get_coordinate_map_key(self, key_or_tensor_strides) -> CoordinateMapKey:
        """A key itself, or that of the first map with a tensor stride.

        Raises:
            ValueError: there is no such map.
        """
        if isinstance(key_or_tensor_strides, CoordinateMapKey):
            return key_or_tensor_strides
        stride = ints("tensor_stride", key_or_tensor_strides, self.D, 0)
        found = sorted(name for name in self._atlas.maps if name[0] == stride)
        if not found:
            have = sorted({name[0] for name in self._atlas.maps})
            raise ValueError(f"there is no map of tensor stride {list(stride)}; there are {have}")
        return _key(found[0])

    def get_coordinates(self, coords_key_or_tensor_strides) -> Tensor:
        """[N, 1+D] int32: the coordinates of a map, a tensor of its own."""
        key = self._get_coordinate_map_key(coords_key_or_tensor_strides)
        return self._atlas.at(key.name).coordinates()

    def get_coordinate_field(self, coords_key_or_tensor_strides: CoordinateMapKey) -> Tensor:
        """[P, 1+D] floating: the points of a field."""
        return self._atlas.field(coords_key_or_tensor_strides.name).points

    def get_coordinate_map_keys(self, tensor_stride: StrideType) -> list[CoordinateMapKey]:
        """The keys of all maps of a tensor stride."""
        stride = ints("tensor_stride", tensor_stride, self.D, 0)
        return [_key(name) for name in sorted(self._atlas.maps) if name[0] == stride]

    def number_of_unique_batch_indices(self) -> int:
        """How many samples have rows in some map."""
        return self.size(self.origin())

    def get_unique_coordinate_map_key(self, tensor_stride: StrideType) -> CoordinateMapKey:
        """A key that no map has yet."""
        stride = ints("tensor_stride", tensor_stride, self.D, 0)
        return _key(self._atlas.free(stride, "", {**self._atlas.maps, (stride, ""): None}))

    def get_kernel_map(
        self,
        in_key: CoordinateMapKey,
        out_key: CoordinateMapKey,
        stride: StrideType = 1,
        kernel_size: StrideType = 3,
        dilation: StrideType = 1,
        region_type: RegionType = RegionType.HYPER_CUBE,
        region_offset: Tensor | None = None,
        is_transpose: bool = False,
        is_pool: bool = False,
    ) -> dict[int, Tensor]:
        """As `kernel_map`, which replaces it."""
        warnings.warn("get_kernel_map is deprecated; use kernel_map", stacklevel=2)
        shape = stride, kernel_size, dilation, region_type, region_offset
        return self.kernel_map(in_key, out_key, *shape, is_transpose, is_pool)

    def kernel_map(
        self,
        in_key: CoordinateMapKey | StrideType,
        out_key: CoordinateMapKey | StrideType,
        stride: StrideType = 1,
        kernel_size: StrideType = 3,
        dilation: StrideType = 1,
        region_type: RegionType | int = RegionType.HYPER_CUBE,
        region_offset: Tensor | None = None,
        is_transpose: bool = False,
        is_pool: bool = False,
    ) -> dict[int, Tensor]:
        """The pairs of a kernel: for each tap that has any, [2, P] int32, input and output rows.

        Args:
            in_key, out_key: keys, or tensor strides, which stand for the first map that has them.
            stride, kernel_size, dilation: one int or D.
            region_type, region_offset: as KernelGenerator has them.
            is_transpose: whether outputs are the fine side.
            is_pool: whether a box as large as the stride sends each row to the cell it lies in.
        """
        region = region_type if isinstance(region_type, RegionType) else RegionType(region_type)
        shape = ints("stride", stride, self.D, 1), ints("dilation", dilation, self.D, 1)
        size = ints("kernel_size", kernel_size, self.D, -1)
        kernel = Kernel.of(region, size, *shape, region_offset)
        source, target = (self._get_coordinate_map_key(key).name for key in (in_key, out_key))
        build = self._atlas.pooling if is_pool else self._atlas.link
        triples = build(source, target, kernel, upwards=is_transpose).triples()
        taps, counts = triples[:, 0].unique_consecutive(return_counts=True)
        pairs = triples[:, 1:].int().t().split(counts.tolist(), 1)
        return {tap: pair.contiguous() for tap, pair in zip(taps.tolist(), pairs, strict=True)}

    def origin_map(self, key: CoordinateMapKey) -> tuple[Tensor, list[Tensor]]:
        """The samples [B] int64 at the origin, and for every sample up to the last its rows."""
        return self._by_sample(self.get_coordinates(key)[:, 0].long())

    def origin_field_map(self, key: CoordinateMapKey) -> tuple[Tensor, list[Tensor]]:
        """As `origin_map`, for a field's points."""
        return self._by_sample(self._atlas.field(key.name).batch())

    def _by_sample(self, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
        samples = self.get_coordinates(self.origin())[:, 0].long()
        count = int(samples[-1]) + 1 if len(samples) else 0
        rows = batch.argsort(stable=True)
        return samples, list(rows.split(batch.bincount(minlength=count).tolist()))

    def stride_map(
        self, in_key: CoordinateMapKey, stride_key: CoordinateMapKey
    ) -> tuple[Tensor, Tensor]:
        """[P] int64 each: rows of a map, and the rows of another in whose cells they lie."""
        triples = self._atlas.cells(in_key.name, stride_key.name).triples()
        order = triples[:, 1].argsort()
        return triples[order, 1], triples[order, 2]

    def union_map(self, in_keys: Sequence[CoordinateMapKey], out_key: CoordinateMapKey):
        """A new map of all coordinates of some maps.

        Args:
            in_keys: the maps.
            out_key: a key without a name, which becomes the new map's.

        Returns:
            for each map [2, N] int64, its rows and those of the new map.

        Raises:
            ValueError: out_key has a name.
        """
        if out_key.is_key_set():
            raise ValueError(
                f"out_key is {out_key}; wanted a new one, CoordinateMapKey({self.D + 1})"
            )
        name, places = self._atlas.unite([key.name for key in in_keys])
        out_key.set_key(*name)
        return [torch.stack([torch.arange(len(p), device=p.device), p]) for p in places]

    def interpolation_map_weight(
        self, key: CoordinateMapKey, samples: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The sites around points: rows of the map, points, and weights, [P] each.

        Args:
            key: the map.
            samples: [Q, 1+D] floating.
        """
        points = points_of("samples", samples, self.D)
        return present(*self._atlas.around(key.name, points), points.dtype)

    def to(self, device: torch.device | str) -> "CoordinateManager":
        """The same keys and coordinates on another device; asked twice, the same manager."""
        place = torch.empty(0, device=device).device
        here = {found.device for found in self._atlas.maps.values()}
        if here <= {place} and {f.points.device for f in self._atlas.fields.values()} <= {place}:
            return self
        if place not in self._elsewhere:
            new = CoordinateManager(self.D, minkowski_algorithm=self.minkowski_algorithm)
            new._atlas = self._atlas.to(place)
            self._elsewhere[place] = new
        return self._elsewhere[place]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_elsewhere": {}}

    def __repr__(self) -> str:
        sizes = [
            f"\t{_key(name)}: {len(found)} x {self.D + 1}"
            for name, found in self._atlas.maps.items()
        ]
        about = [f"\talgorithm={self.minkowski_algorithm}"]
        return "\n".join([f"{type(self).__name__}(", *sizes, *about, ")\n"])


def present(rows: Tensor, weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Of [Q, J] rows and weights the pairs that exist, corner by corner: row, point, weight."""
    corner, point = (rows.t() >= 0).nonzero(as_tuple=True)
    return rows[point, corner], point, weights[point, corner].to(dtype)


def _key(name: Name) -> CoordinateMapKey:
    return CoordinateMapKey(*name)
