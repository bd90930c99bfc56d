"""Bad input is a clear error: it says the argument, what came, what was wanted, and the way out."""

import re

import pytest
import torch

import gossamer
from gossamer import DuplicateSitesError, KeyRangeError, SparseTensor

ROWS = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 0, 0]])
FEATURES = torch.zeros(3, 4)


def rows(*values: list[int], dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def make(features=FEATURES, coords=ROWS, *args, **options) -> SparseTensor:
    return SparseTensor(features, coords, *args, **options)


TENSORS = {
    "lengths": (lambda: make(FEATURES[:2]), ValueError, "features has 2 rows and coords has 3"),
    "with_features": (
        lambda: make().with_features(FEATURES[:2]),
        ValueError,
        "features has 2 rows; wanted 3",
    ),
    "duplicates": (
        lambda: make(coords=rows([0, 1, 2], [1, 5, 5], [0, 1, 2])),
        DuplicateSitesError,
        r"coords rows 0 and 2 are both \[0, 1, 2\].*gossamer.voxelize",
    ),
    "float coords": (
        lambda: make(coords=ROWS.float()),
        TypeError,
        "coords is torch.float32.*int32",
    ),
    "short coords": (lambda: make(coords=ROWS.short()), TypeError, "coords is torch.int16"),
    "a list": (lambda: make(coords=ROWS.tolist()), TypeError, "coords is a list"),
    "below the grid": (lambda: make(coords=ROWS - 1, spatial_shape=(5, 5)), ValueError, "batch"),
    "negative in a grid": (
        lambda: make(coords=ROWS + rows([0, -1, 0]), spatial_shape=(5, 5)),
        ValueError,
        r"coords reach from \[-1, 0\] to \[2, 2\], outside spatial_shape \(5, 5\).*without bounds",
    ),
    "past the grid": (
        lambda: make(spatial_shape=(4, 2)),
        ValueError,
        r"outside spatial_shape \(4, 2\)",
    ),
    "batch too large": (
        lambda: make(batch_size=1),
        ValueError,
        "indices from 0 to 1; wanted 0 to 0.*batch_size is 1",
    ),
    "negative batch": (
        lambda: make(coords=ROWS - rows([1, 0, 0])),
        ValueError,
        "indices from -1 to 0",
    ),
    "negative batch index": (
        lambda: make(coords=ROWS - rows([9, 0, 0])),
        ValueError,
        "wanted 0 to 0.*batch_size is 1",
    ),
    "fractional batch size": (lambda: make(batch_size=1.5), ValueError, "batch_size is 1.5"),
    "five axes": (
        lambda: make(coords=torch.zeros(3, 6, dtype=torch.int64)),
        ValueError,
        "D from 1 to 4",
    ),
    "flat coords": (lambda: make(coords=ROWS[:, 0]), ValueError, r"coords has shape \(3,\)"),
    "flat features": (lambda: make(FEATURES[:, 0]), ValueError, "features has shape"),
    "whole features": (lambda: make(FEATURES.long()), TypeError, "features is torch.int64"),
    "shape of another dimension": (
        lambda: make(spatial_shape=(5, 5, 5)),
        ValueError,
        "spatial_shape is .* 2 of them",
    ),
    "shape of zero": (lambda: make(spatial_shape=(5, 0)), ValueError, "spatial_shape is"),
    "stride of zero": (lambda: make(stride=0), ValueError, "stride is"),
    "devices": (
        lambda: make(FEATURES.to("meta")),
        ValueError,
        r"features is on meta and coords on cpu.*\.to",
    ),
    "too wide": (
        lambda: make(coords=ROWS * rows([1, 2**29, 2**29]), batch_size=10),
        KeyRangeError,
        "more than a 63-bit key can number.*larger voxels",
    ),
    "too far": (lambda: make(coords=ROWS + rows([0, 2**40, 0])), KeyRangeError, "wanted 32-bit"),
    "no bounds": (lambda: make().dense(), ValueError, "no spatial_shape"),
    "mask": (
        lambda: make().prune(torch.tensor([1, 0, 1])),
        ValueError,
        r"mask is torch.int64.*bool",
    ),
    "vectors": (
        lambda: make().broadcast(torch.zeros(3, 4)),
        ValueError,
        r"vectors has shape.*\[2, C\]",
    ),
    "cat of nothing": (lambda: gossamer.cat([]), ValueError, "tensors is empty"),
    "cat of other sites": (
        lambda: gossamer.cat([make(), make(coords=ROWS + 1, batch_size=2)]),
        ValueError,
        "batch",
    ),
    "cat of moved sites": (
        lambda: gossamer.cat([make(), make(coords=ROWS + rows([0, 1, 1]))]),
        ValueError,
        "tensors 0 and 1 have different sites.*union",
    ),
    "cat across strides": (lambda: gossamer.cat([make(), make(stride=2)]), ValueError, "stride is"),
    "product of other sites": (
        lambda: make() * make(coords=ROWS + rows([0, 1, 1])),
        ValueError,
        "different sites",
    ),
    "sum across strides": (lambda: make() + make(stride=2), ValueError, "stride is .* the left"),
    "sum of other channels": (
        lambda: make() + make(torch.zeros(3, 5), ROWS + rows([0, 1, 1])),
        ValueError,
        "channels is 4",
    ),
    "sum of other dtypes": (
        lambda: make() + make(FEATURES.double(), ROWS + rows([0, 1, 1])),
        ValueError,
        "dtype is",
    ),
}


POINTS = torch.rand(5, 3)
VALUES = torch.rand(5, 2)


def voxels() -> SparseTensor:
    return gossamer.voxelize(POINTS, VALUES, 0.5)[0]


CLOUDS = {
    "NaN": (
        lambda: gossamer.voxelize(POINTS.index_fill(0, torch.tensor(3), torch.nan), VALUES, 0.5),
        ValueError,
        "points row 3 is .*nan.*finite",
    ),
    "infinite": (
        lambda: gossamer.devoxelize(voxels(), POINTS / 0, 0.5),
        ValueError,
        "points row 0 is .*inf",
    ),
    "lengths": (
        lambda: gossamer.voxelize(POINTS, VALUES[:4], 0.5),
        ValueError,
        "features has 4 rows",
    ),
    "batch length": (
        lambda: gossamer.voxelize(POINTS, VALUES, 0.5, torch.zeros(4, dtype=torch.int64)),
        ValueError,
        r"batch has shape \(4,\)",
    ),
    "batch dtype": (
        lambda: gossamer.voxelize(POINTS, VALUES, 0.5, torch.zeros(5)),
        TypeError,
        "batch is torch.fl",
    ),
    "batch range": (
        lambda: gossamer.voxelize(POINTS, VALUES, 0.5, torch.arange(5), batch_size=3),
        ValueError,
        "batch has indices from 0 to 4; wanted 0 to 2",
    ),
    "batch range back": (
        lambda: gossamer.devoxelize(voxels(), POINTS, 0.5, torch.arange(5)),
        ValueError,
        "batch has indices from 0 to 4; wanted 0 to 0",
    ),
    "voxel of zero": (
        lambda: gossamer.voxelize(POINTS, VALUES, 0.0),
        ValueError,
        "voxel_size is 0.0",
    ),
    "voxel of another dimension": (
        lambda: gossamer.voxelize(POINTS, VALUES, (0.5, 0.5)),
        ValueError,
        "voxel_size is",
    ),
    "voxel of zero back": (
        lambda: gossamer.devoxelize(voxels(), POINTS, -1),
        ValueError,
        "voxel_size is -1",
    ),
    "whole points": (lambda: gossamer.voxelize(POINTS.long(), VALUES, 1), TypeError, "points is"),
    "unknown reduction": (
        lambda: gossamer.voxelize(POINTS, VALUES, 1, reduce="median"),
        ValueError,
        "'mean', 'sum'",
    ),
    "unknown mode": (
        lambda: gossamer.devoxelize(voxels(), POINTS, 1, mode="cubic"),
        ValueError,
        "'nearest'",
    ),
    "dimension": (
        lambda: gossamer.devoxelize(voxels(), POINTS[:, :2], 1),
        ValueError,
        "2 axes and x has 3",
    ),
    "too far": (
        lambda: gossamer.voxelize(POINTS.double() * 1e12, VALUES, 0.1),
        KeyRangeError,
        "larger voxels",
    ),
    "too wide": (
        lambda: gossamer.voxelize(POINTS.double() * 2e9, VALUES, 1.0),
        KeyRangeError,
        "63-bit",
    ),
    "places": (lambda: voxels().interpolate(torch.rand(4, 3)), ValueError, r"wanted \[P, 4\]"),
    "sample of places": (
        lambda: voxels().interpolate(torch.ones(4, 4)),
        ValueError,
        "indices from 1 to 1",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_bad_tensor_is_an_error_that_says_what_came_and_what_was_wanted(backend, name):
    act, error, words = TENSORS[name]
    with pytest.raises(error, match=re.compile(words, re.DOTALL)):
        act()


@pytest.mark.parametrize("name", CLOUDS)
def test_bad_points_are_an_error_that_says_what_came_and_what_was_wanted(backend, name):
    act, error, words = CLOUDS[name]
    with pytest.raises(error, match=re.compile(words, re.DOTALL)):
        act()
