"""Scenes: what every contender gets is what the scan has."""

import pytest
import torch

from gossamer.bench.scenes import REACH, Scene, keys, scene_of, scene_of_points
from tests.bench.clouds import points

SIZE = (0.25, 0.5, 1.0)


def rows(coords) -> set[tuple[int, ...]]:
    return set(map(tuple, coords.tolist()))


def test_the_voxels_are_the_cells_of_the_points_in_key_order():
    scene = scene_of_points(points(), SIZE)
    cloud = points().double()
    cells = ((cloud - cloud.amin(0)) / torch.tensor(SIZE, dtype=torch.float64)).floor().int()
    assert rows(scene.coords) == {(0, *cell) for cell in map(tuple, cells.tolist())}
    assert scene.coords.tolist() == sorted(scene.coords.tolist())


def test_every_voxel_lies_in_a_grid_that_halves_four_times():
    scene = scene_of_points(points(), SIZE)
    assert (scene.coords[:, 1:] < torch.tensor(scene.spatial_shape)).all()
    assert all(extent % 16 == 0 for extent in scene.spatial_shape)


def test_points_that_are_not_finite_or_too_far_do_not_count():
    far = torch.tensor([[3 * REACH, 0.0, 0.0], [0.0, torch.nan, 0.0], [0.0, 0.0, torch.inf]])
    with_far = scene_of_points(torch.cat([points(), far]), SIZE)
    assert torch.equal(with_far.coords, scene_of_points(points(), SIZE).coords)


def test_a_scan_far_from_the_origin_is_the_same_scan():
    away = points().double() + torch.tensor([500_000.0, 4_900_000.0, 2000.0])
    assert abs(len(scene_of_points(away, SIZE)) - len(scene_of_points(points(), SIZE))) <= 2


def test_shuffled_is_another_order_of_the_same_voxels_and_always_the_same():
    scene = scene_of_points(points(), SIZE)
    shuffled = scene.shuffled()
    assert rows(shuffled.coords) == rows(scene.coords)
    assert not torch.equal(shuffled.coords, scene.coords)
    assert torch.equal(shuffled.coords, scene.shuffled().coords)


def test_a_window_holds_the_voxels_around_the_middle_as_z_y_x():
    cells = torch.cartesian_prod(torch.arange(1), *[torch.arange(9)] * 3).int()
    scene = Scene(cells, (16, 16, 16))
    window = scene.window((4, 2, 6))  # of z, y, x around (4, 4, 4): from 3, 3, 1
    inside = {(0, z - 3, y - 3, x - 1) for z in range(3, 7) for y in (3, 4) for x in range(1, 7)}
    assert rows(window.coords) == inside
    assert window.coords.tolist() == sorted(window.coords.tolist())
    assert window.spatial_shape == (4, 2, 6)


def test_keys_number_the_cells_of_the_grid():
    cells = torch.cartesian_prod(*map(torch.arange, (2, 3, 4, 5)))
    assert keys(cells, (3, 4, 5)).tolist() == list(range(2 * 3 * 4 * 5))


def test_without_a_file_there_is_a_simulated_scan():
    assert len(scene_of(None, (1.0, 1.0, 1.0))) > 1000


def test_a_scan_without_a_finite_point_is_refused():
    with pytest.raises(ValueError, match="2 points and none is finite"):
        scene_of_points(torch.full((2, 3), torch.nan), SIZE)
