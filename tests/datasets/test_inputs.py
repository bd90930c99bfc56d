"""What a network gets to know of a point: heights above any ground, ranks, whatever the units."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer import PointCloud
from gossamer.datasets import encode, missing
from gossamer.datasets.ground import height_above_ground
from gossamer.datasets.inputs import available, ranks
from tests.real_data import real_scan


def hillside(slope: tuple[float, float], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A sloping field with a box of 10 x 8 x 6 m and a pole on it; positions, and true heights."""
    random = np.random.default_rng(seed)
    field = random.uniform(-40, 40, (40_000, 2))
    roof = random.uniform((-5, -4), (5, 4), (2_000, 2))
    pole = np.tile((20.0, 10.0), (200, 1))
    ground = field[(np.abs(field) > (5, 4)).any(1)]
    flat = np.concatenate([ground, roof, pole])
    heights = np.concatenate(
        [np.zeros(len(ground)), np.full(len(roof), 6.0), random.uniform(0, 4, len(pole))]
    )
    z = heights + flat @ slope + 100.0
    return torch.from_numpy(np.column_stack([flat, z])), torch.from_numpy(heights)


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.1, 0.0), (-0.05, 0.08)])
def test_heights_count_from_the_ground_on_any_slope(slope):
    positions, heights = hillside(slope)
    # Away from the border, beyond which nothing tells how the ground goes on.
    inside = (positions[:, :2].abs() < 30).all(1)
    error = (height_above_ground(positions).double() - heights)[inside]
    # A cell of 2 m rises by its slope times 2 m, and so may its lowest points.
    assert error.abs().quantile(0.99) < 0.05 + 2 * sum(map(abs, slope))


def test_heights_do_not_depend_on_where_the_scan_lies():
    positions, _ = hillside((0.05, 0.0))
    moved = positions + torch.tensor([2_445_180.0, 604_300.0, 1_352.0])
    torch.testing.assert_close(
        height_above_ground(moved), height_above_ground(positions), atol=1e-3, rtol=0
    )


def test_an_echo_from_far_below_does_not_move_the_ground():
    positions, heights = hillside((0.0, 0.0))
    low = torch.tensor([[3.0, 20.0, 60.0], [700.0, 0.0, 100.0]])
    found = height_above_ground(torch.cat([positions, low]))[: len(positions)]
    inside = (positions[:, :2].abs() < 30).all(1)
    assert (found.double() - heights)[inside].abs().max() < 0.1


@pytest.mark.parametrize("points", [0, 1, 2])
def test_heights_of_few_points_are_numbers(points):
    heights = height_above_ground(torch.rand(points, 3))
    assert heights.shape == (points,) and heights.isfinite().all()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=50))
def test_a_rank_is_the_share_below_less_the_share_above(numbers):
    values = torch.tensor(numbers, dtype=torch.float32)
    below = (values[None] < values[:, None]).double().mean(1)
    above = (values[None] > values[:, None]).double().mean(1)
    torch.testing.assert_close(ranks(values).double(), below - above, atol=1e-6, rtol=0)


def test_ranks_are_those_of_any_sensor_that_agrees_on_what_is_brighter():
    values = torch.rand(1000)
    assert torch.equal(ranks(values), ranks(65535 * values.sqrt()))


@pytest.mark.parametrize("name", ["intensity", "reflectivity", "scalar_Intensity"])
def test_the_echo_is_found_by_any_of_its_names(name):
    cloud = PointCloud(torch.rand(10, 3), torch.rand(10, 2), ("ring", name))
    assert torch.equal(encode(cloud, ["intensity"]).features[:, 0], ranks(cloud.features[:, 1]))
    assert missing(cloud, ["height", "intensity", "red"]) == ["red"]


def test_a_channel_that_a_scan_lacks_is_the_middle_rank():
    encoded = encode(PointCloud(torch.rand(10, 3)), ["height", "intensity"])
    assert encoded.names == ("height", "intensity")
    assert (encoded.features[:, 1] == 0).all()


def test_what_scans_have_in_common_is_what_all_of_them_have():
    with_colour = PointCloud(torch.rand(4, 3), torch.rand(4, 2), ("intensity", "red"))
    without = PointCloud(torch.rand(4, 3), torch.rand(4, 1), ("intensity",))
    assert available([with_colour]) == ("height", "intensity", "red")
    assert available([with_colour, without]) == ("height", "intensity")


def test_map_coordinates_keep_their_millimetres():
    positions = torch.rand(100, 3, dtype=torch.float64) * 50
    far = positions + torch.tensor([5_153_686.0, 49_183_403.0, 2_322.0], dtype=torch.float64)
    moved = encode(PointCloud(far), ["height"]).positions
    assert moved.dtype == torch.float32
    # float64 holds 49 million metres to 7 nanometres, float32 holds 50 m to 4 micrometres.
    expected = positions - positions[:1] + moved[:1]
    torch.testing.assert_close(moved.double(), expected, atol=2e-5, rtol=0)


def test_an_unknown_channel_is_refused():
    with pytest.raises(ValueError, match="channel is 'colour'; wanted one of 'height'"):
        encode(PointCloud(torch.rand(4, 3)), ["colour"])


@pytest.mark.parametrize("name", ["ouster/OS-1-128_0.npz", "kitti/000008.bin"])
def test_the_sensor_of_a_real_scan_stands_where_its_makers_say(name):
    from gossamer import io

    # Both are mounted between 1.5 m and 2.5 m above the ground, at (0, 0, 0).
    cloud = io.read(real_scan(name)).finite()
    near = cloud.positions[:, :2].norm(dim=1) < 15
    ground = (cloud.positions[:, 2] - height_above_ground(cloud.positions))[near].median()
    assert -2.5 < ground < -1.5
