"""The rulebooks of a real scan in figures: how much there is to do, and in how much memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from gossamer.coords import Coords
from gossamer.geometry import Geometry
from gossamer.point_cloud import PointCloud
from gossamer.voxels import Lengths, voxelize

PerAxis = int | Sequence[int]
AXES = 3


@dataclass(frozen=True)
class KernelFigures:
    """One kernel on the voxels of a scan.

    Args:
        geometry: the kernel.
        inputs, outputs: voxels before and after it.
        cells: of the box around the output voxels, which a dense convolution would fill.
        pairs_per_tap: K counts.
        nbytes: of the rulebook, as a forward pass needs it.
        nbytes_training: the same with the direction that gradients are read in.
    """

    geometry: Geometry
    inputs: int
    outputs: int
    cells: int
    pairs_per_tap: tuple[int, ...]
    nbytes: int
    nbytes_training: int

    @property
    def pairs(self) -> int:
        """Lines of the rulebook: the atomic operations of one pass."""
        return sum(self.pairs_per_tap)

    @property
    def pairs_per_output(self) -> float:
        """How many taps of an output voxel meet an input voxel, on average."""
        return self.pairs / max(1, self.outputs)

    @property
    def dense_operations(self) -> int:
        """The atomic operations of a dense convolution: every tap at every cell."""
        return self.cells * len(self.geometry.taps)


@dataclass(frozen=True)
class ScanFigures:
    """A scan as voxels, and what kernels make of it.

    Args:
        points: how many were used; `left_out` had no finite position.
        voxel_size: edges, metres.
        voxels: how many are occupied.
        grid: cells an axis of the box around them.
        scans: how many clouds there are.
        kernels: figures of each kernel.
    """

    points: int
    left_out: int
    voxel_size: tuple[float, ...]
    voxels: int
    grid: tuple[int, ...]
    scans: int
    kernels: tuple[KernelFigures, ...]

    @property
    def cells(self) -> int:
        """Cells of the box around the voxels, in all scans."""
        return self.scans * prod(self.grid)


def figures_of(
    cloud: PointCloud,
    voxel_size: Lengths = 0.1,
    kernel_size: PerAxis = 3,
    stride: PerAxis = 2,
) -> ScanFigures:
    """The voxels of a cloud, and the rulebooks of a submanifold and a strided kernel on them.

    An even kernel has no centre, so there are figures of the strided one alone.

    Args:
        cloud: P points; those without a finite position are left out and counted.
        voxel_size: edge of a voxel, metres, one number or 3.
        kernel_size: of both kernels, voxels, one int or 3.
        stride: of the strided kernel, one int or 3; its padding is (kernel_size - 1) // 2.

    Raises:
        ValueError: no point is finite, a length, size or stride is not positive, or the points
            span more voxels than a key can number (KeyRangeError).
    """
    geometries = _geometries(kernel_size, stride)
    known = cloud[cloud.positions.isfinite().all(1)]
    if not len(known):
        raise ValueError(
            f"the cloud has {len(cloud)} points, none with a finite position; wanted at least one"
        )
    nothing = known.positions.new_zeros(len(known), 1)
    x, _ = voxelize(known.positions, nothing, voxel_size, known.batch, reduce="first")
    edges = voxel_size if isinstance(voxel_size, Sequence) else [voxel_size] * AXES
    return ScanFigures(
        points=len(known),
        left_out=len(cloud) - len(known),
        voxel_size=tuple(map(float, edges)),
        voxels=len(x),
        grid=_extent(x.sites),
        scans=x.batch_size,
        kernels=tuple(_kernel(x.sites, geometry) for geometry in geometries),
    )


def _geometries(kernel_size: PerAxis, stride: PerAxis) -> list[Geometry]:
    plain = Geometry.of("regular", AXES, kernel_size, stride=stride)
    size = [1 + max(axis) for axis in zip(*plain.taps, strict=True)]
    padding = [(n - 1) // 2 for n in size]
    strided = Geometry.of("regular", AXES, kernel_size, stride=stride, padding=padding)
    if all(n % 2 for n in size):
        return [Geometry.of("submanifold", AXES, kernel_size), strided]
    return [strided]


def _kernel(sites: Coords, geometry: Geometry) -> KernelFigures:
    rulebook, out = sites.rulebook(geometry), sites.output(geometry)
    per_tap = tuple(rulebook.pairs_per_tap().tolist())
    nbytes = rulebook.nbytes
    _ = rulebook.T.layout  # made when first asked for, and then part of nbytes
    cells = sites.batch_size * prod(_extent(out))
    return KernelFigures(geometry, len(sites), len(out), cells, per_tap, nbytes, rulebook.nbytes)


def _extent(sites: Coords) -> tuple[int, ...]:
    """Cells an axis of the tightest box around the sites."""
    if not len(sites):
        return (0,) * sites.ndim
    places = sites.rows[:, 1:].long()
    return tuple((places.amax(0) - places.amin(0) + 1).tolist())
