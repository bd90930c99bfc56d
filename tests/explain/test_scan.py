"""Figures of clouds against dense convolution of their occupancy."""

import io
from itertools import product

import pytest
import torch
from rich.console import Console
from torch.nn.functional import conv3d

from gossamer import PointCloud
from gossamer.explain import figures_of
from gossamer.explain.scan_text import kernel_name, percent, show_scan
from gossamer.explain.terminal import bar
from gossamer.io import read
from tests.real_data import real_scan

SIDE = 12


@pytest.fixture
def cloud() -> PointCloud:
    rng = torch.Generator().manual_seed(0)
    return PointCloud(torch.rand(400, 3, generator=rng) * SIDE * 0.5)


def occupied(cloud: PointCloud) -> torch.Tensor:
    grid = torch.zeros(SIDE, SIDE, SIDE)
    for x, y, z in (cloud.positions / 0.5).floor().long().tolist():
        grid[x, y, z] = 1
    return grid


def test_voxels_and_grid_are_those_of_a_dense_count(cloud):
    figures, grid = figures_of(cloud, 0.5), occupied(cloud)
    assert figures.points == len(cloud)
    assert figures.voxels == int(grid.sum())
    filled = grid.nonzero()
    extent = filled.amax(0) - filled.amin(0) + 1
    assert figures.grid == tuple(extent.tolist())
    assert figures.cells == int(extent.prod())


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (5, 3), (3, (1, 2, 3)), ((1, 3, 5), 2)])
def test_pairs_and_outputs_are_those_of_a_dense_convolution(cloud, size, stride):
    grid = occupied(cloud)
    sizes = (size,) * 3 if isinstance(size, int) else size
    halo = [n // 2 for n in sizes]
    ones = torch.ones(1, 1, *sizes)
    submanifold, strided = figures_of(cloud, 0.5, size, stride).kernels
    counts = conv3d(grid[None, None], ones, padding=halo)[0, 0] * grid
    assert submanifold.outputs == submanifold.inputs == int(grid.sum())
    assert submanifold.pairs == int(counts.sum())
    # Room for outputs that lie before the grid: a whole number of strides on either side.
    steps = (stride,) * 3 if isinstance(stride, int) else stride
    room = [n // 2 + 6 * s for n, s in zip(sizes, steps, strict=True)]
    counts = conv3d(grid[None, None], ones, stride=stride, padding=room)
    assert strided.outputs == int((counts > 0).sum())
    assert strided.pairs == int(counts.sum())


def test_pairs_of_a_tap_are_the_voxels_with_a_neighbour_there(cloud):
    grid = occupied(cloud)
    (submanifold, _) = figures_of(cloud, 0.5).kernels
    padded = torch.nn.functional.pad(grid, (1,) * 6)
    for tap, pairs in zip(product(range(3), repeat=3), submanifold.pairs_per_tap, strict=True):
        i, j, k = tap
        shifted = padded[i : i + SIDE, j : j + SIDE, k : k + SIDE]
        assert pairs == int((shifted * grid).sum())


def test_a_kernel_as_large_as_its_stride_meets_every_voxel_once(cloud):
    (strided,) = figures_of(cloud, 0.5, kernel_size=2, stride=2).kernels
    assert strided.pairs == strided.inputs


def test_the_share_of_the_dense_work_of_a_full_grid_is_what_its_edges_leave():
    cells = torch.cartesian_prod(*[torch.arange(4.0)] * 3) + 0.5
    (submanifold, _) = figures_of(PointCloud(cells), 1.0).kernels
    # Along an axis of 4 cells 3 taps meet 10 cells of the 12 that a dense convolution multiplies.
    assert submanifold.pairs / submanifold.dense_operations == pytest.approx((10 / 12) ** 3)


def test_memory_holds_two_rows_a_pair_and_gradients_cost_a_submanifold_kernel_nothing(cloud):
    submanifold, strided = figures_of(cloud, 0.5).kernels
    for kernel in (submanifold, strided):
        assert kernel.nbytes >= 2 * 4 * kernel.pairs
        assert kernel.nbytes_training > kernel.nbytes
    assert submanifold.nbytes_training < 1.1 * submanifold.nbytes
    assert strided.nbytes_training >= 2 * 2 * 4 * strided.pairs


def test_points_that_are_not_finite_are_left_out_and_counted(cloud):
    broken = cloud.positions.clone()
    broken[3, 0], broken[7, 2] = torch.nan, torch.inf
    figures = figures_of(PointCloud(broken), 0.5)
    kept = torch.ones(len(cloud), dtype=torch.bool)
    kept[[3, 7]] = False
    assert (figures.points, figures.left_out) == (len(cloud) - 2, 2)
    assert figures.kernels == figures_of(cloud[kept], 0.5).kernels


def test_several_scans_are_kept_apart(cloud):
    twice = PointCloud(cloud.positions.repeat(2, 1), batch=torch.arange(2).repeat_interleave(400))
    one, two = figures_of(cloud, 0.5), figures_of(twice, 0.5)
    assert (two.scans, two.voxels, two.cells) == (2, 2 * one.voxels, 2 * one.cells)
    assert [k.pairs for k in two.kernels] == [2 * k.pairs for k in one.kernels]
    assert two.kernels[1].dense_operations == 2 * one.kernels[1].dense_operations


@pytest.mark.parametrize("points", [torch.full((2, 3), torch.nan), torch.zeros(0, 3)])
def test_a_cloud_without_a_finite_point_is_refused(points):
    with pytest.raises(ValueError, match=f"has {len(points)} points, none with a finite"):
        figures_of(PointCloud(points))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voxel_size": -0.1}, "voxel_size is -0.1; wanted a positive length"),
        ({"voxel_size": float("nan")}, "voxel_size is nan; wanted a positive length"),
        ({"voxel_size": [0.1, 0.1]}, "voxel_size is .*one an axis"),
        ({"voxel_size": 1e-12}, "voxels from the origin.*use larger voxels"),
        ({"kernel_size": 0}, "kernel_size is .*at least 1"),
        ({"stride": -1}, "stride is .*at least 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_by_name(cloud, options, message):
    with pytest.raises(ValueError, match=message):
        figures_of(cloud, **options)


@pytest.mark.parametrize(
    ("size", "stride", "names"),
    [
        (3, 2, ["submanifold 3 x 3 x 3", "3 x 3 x 3, stride 2"]),
        ([1, 3, 5], [1, 2, 2], ["submanifold 1 x 3 x 5", "1 x 3 x 5, stride 1x2x2"]),
        (4, 4, ["4 x 4 x 4, stride 4"]),
    ],
)
def test_a_kernel_is_named_by_size_and_stride(cloud, size, stride, names):
    assert list(map(kernel_name, figures_of(cloud, 0.5, size, stride).kernels)) == names


@pytest.mark.parametrize(
    ("part", "told"), [(1.0, "100 %"), (0.5, "50 %"), (0.0123, "1.2 %"), (0.0000314, "0.0031 %")]
)
def test_a_share_is_told_with_two_digits(part, told):
    assert percent(part) == told


@pytest.mark.parametrize("size", [3, 5])
def test_a_stream_without_unicode_gets_ascii(cloud, size):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show_scan(Console(file=stream), "a cloud", figures_of(cloud, 0.5, size))
    stream.flush()
    assert "####" in stream.buffer.getvalue().decode("ascii")


@pytest.mark.parametrize(
    ("part", "drawn", "plain"),
    [
        (0, "", ""),
        (1e-9, "▏", "#"),
        (0.5, "████", "####"),
        (0.3125, "██▌", "##"),
        (1, "█" * 8, "#" * 8),
    ],
)
def test_a_bar_is_as_long_as_its_part_and_shows_whatever_is_not_nothing(part, drawn, plain):
    for encoding, wanted in (("utf-8", drawn), ("ascii", plain)):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        assert bar(Console(file=stream), part, 8) == wanted


def test_a_real_scan_has_its_known_voxels_and_a_sliver_of_the_dense_work():
    figures = figures_of(read(real_scan("ouster/OS-1-128_0.npz")), (0.05, 0.05, 0.1))
    assert (figures.points, figures.voxels) == (107_647, 96_944)
    (submanifold, strided) = figures.kernels
    assert submanifold.pairs_per_tap[13] == figures.voxels
    assert submanifold.pairs_per_tap == submanifold.pairs_per_tap[::-1]
    assert submanifold.pairs / submanifold.dense_operations < 1e-5
    assert strided.pairs / strided.dense_operations < 1e-4
    assert submanifold.nbytes / submanifold.pairs < 12
