"""A geometry says which site feeds which; its output shape is torch's."""

import pickle
from itertools import product

import pytest
import torch
from torch import nn

from gossamer.geometry import Cross, Geometry
from tests.dense import Kernel, box_taps, cross_taps, downward, upward
from tests.scenes import covering

SHAPED = covering(
    ndim=[1, 2, 3],
    size=[1, 2, 3, 4],
    stride=[1, 2, 3],
    padding=[0, 1, 2],
    dilation=[1, 2],
    extent=[7, 10, 12],
)


@pytest.mark.parametrize("case", SHAPED, ids=str)
@pytest.mark.parametrize("kind", ["regular", "transposed"])
def test_the_output_shape_is_that_of_torch(case, kind):
    options = {name: case[name] for name in ("stride", "padding", "dilation")}
    ndim, shape = case["ndim"], tuple(case["extent"] + a for a in range(case["ndim"]))
    name = f"Conv{'Transpose' * (kind == 'transposed')}{ndim}d"
    layer = getattr(nn, name)(1, 1, case["size"], **options)
    try:
        expected = tuple(layer(torch.zeros(1, 1, *shape)).shape[2:])
    except RuntimeError:
        expected = None  # torch refuses what would be empty, and so does a geometry
    geometry = Geometry.of(kind, ndim, case["size"], **options)
    if expected is None:
        with pytest.raises(ValueError, match="output would be empty"):
            geometry.output_shape(shape)
    else:
        assert geometry.output_shape(shape) == expected


@pytest.mark.parametrize("kind", ["regular", "transposed"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_box_written_as_offsets_around_its_centre_is_a_padded_box(kind, stride, padding):
    offsets = box_taps((3, 5), centred=True)
    listed = Geometry.of(kind, 2, offsets, stride=stride, padding=padding)
    box = Geometry.of(kind, 2, (3, 5), stride=stride, padding=(padding + 1, padding + 2))
    assert listed.offsets == box.offsets
    assert listed.output_shape((12, 14)) == box.output_shape((12, 14))


def test_a_submanifold_kernel_keeps_every_shape():
    assert Geometry.of("submanifold", 3, 5, dilation=2, padding=7).output_shape((1, 2, 3)) == (
        1,
        2,
        3,
    )


def test_minkowski_counts_the_cells_that_the_grid_touches():
    geometry = Geometry.of("regular", 2, 3, stride=(2, 3), downsample="minkowski")
    assert geometry.output_shape((7, 9)) == (4, 3)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_taps_are_numbered_row_major_from_the_corner_or_around_the_centre(ndim):
    size = (3, 1, 5, 3)[:ndim]
    assert Geometry.of("regular", ndim, size).taps == box_taps(size)
    assert Geometry.of("submanifold", ndim, size).taps == box_taps(size, centred=True)
    assert Geometry.of("transposed", ndim, Cross(size)).taps == cross_taps(size)
    crossed = Geometry.of("submanifold", ndim, Cross(size))
    assert crossed.taps == cross_taps(size, centred=True)


def test_offsets_are_the_relation_between_the_fine_and_the_coarse_side():
    # One input site, one output: where torch says that a tap reads, there the offset points.
    kernel = Kernel(box_taps((3, 2)), (2, 3), (1, 0), (2, 1))
    geometry = Geometry.of("regular", 2, (3, 2), stride=(2, 3), padding=(1, 0), dilation=(2, 1))
    for tap, offset in enumerate(geometry.offsets):
        weight = torch.zeros(6, 1, 1)
        weight[tap] = 1
        coarse = torch.zeros(1, 1, 9, 9)
        coarse[0, 0, 2, 2] = 1
        fine = upward(coarse, weight, kernel, (12, 12))[0, 0].nonzero().tolist()
        assert fine == [[2 * 2 + offset[0], 2 * 3 + offset[1]]]
        assert downward(upward(coarse, weight, kernel, (12, 12)), weight, kernel, (9, 9)).sum() == 1


def test_the_mirror_names_the_opposite_tap():
    geometry = Geometry.of("submanifold", 2, (3, 5), dilation=2)
    assert geometry.mirror is not None
    for tap, opposite in enumerate(geometry.mirror):
        assert geometry.offsets[opposite] == tuple(-v for v in geometry.offsets[tap])
    assert Geometry.of("submanifold", 2, [(0, 0), (0, 1)]).mirror is None


def test_equal_geometries_are_one_key():
    one = Geometry.of("regular", 2, 3, stride=2, padding=(1, 1))
    other = Geometry.of("regular", 2, (3, 3), stride=[2, 2], padding=1)
    assert one == other
    assert hash(one) == hash(other)
    assert one != Geometry.of("regular", 2, 3, stride=2)
    assert pickle.loads(pickle.dumps(one)) == one


def test_padding_means_nothing_to_a_submanifold_kernel():
    assert Geometry.of("submanifold", 3, 3, padding=1) == Geometry.of("submanifold", 3, 3)


def test_it_says_what_it_is():
    geometry = Geometry.of("regular", 2, (3, 5), stride=2, dilation=(1, 2))
    assert str(geometry) == ("regular kernel (3, 5), 15 taps, stride (2, 2), dilation (1, 2)")


@pytest.mark.parametrize(
    ("size", "planes"), [((3, 3, 3), 3), ((5, 3, 2), 5), ((1, 3, 3), 1), ((3,), 3), ((2, 1), 2)]
)
def test_planes_are_runs_of_the_axis_that_changes_slowest(size, planes):
    row_major = list(product(*map(range, size)))
    assert Geometry.of("regular", len(size), row_major).planes == planes
    turned = [tap[::-1] for tap in row_major]
    assert Geometry.of("regular", len(size), turned).planes == planes
    if len(size) == 3:
        assert Geometry.of("regular", 3, sorted(row_major, key=sum)).planes == 1
