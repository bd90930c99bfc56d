"""A point cloud holds together, or is not made."""

import numpy as np
import pytest
import torch

from gossamer.point_cloud import PointCloud

POSITIONS = torch.arange(12.0).reshape(4, 3)
FULL = PointCloud(
    POSITIONS,
    torch.tensor([[0.5, 1], [0.25, 2], [1, 3], [0, 4]]),
    ("intensity", "ring"),
    labels=torch.tensor([3, 1, 4, 1]),
    instances=torch.tensor([0, 0, 5, 6]),
    batch=torch.tensor([0, 0, 1, 1]),
)


def test_a_cloud_of_positions_alone_has_no_features():
    cloud = PointCloud(POSITIONS.double())
    assert cloud.features.shape == (4, 0)
    assert cloud.features.dtype == torch.float32
    assert (len(cloud), len(PointCloud(torch.empty(0, 3)))) == (4, 0)


@pytest.mark.parametrize(
    "rows", [slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False])]
)
def test_picking_rows_picks_them_of_every_part(rows):
    picked = FULL[rows]
    assert picked.names == FULL.names
    for part in ("positions", "features", "labels", "instances", "batch"):
        assert torch.equal(getattr(picked, part), getattr(FULL, part)[1:3])


def test_finite_drops_points_with_nan_or_infinity_in_position_or_feature():
    positions, features = POSITIONS.clone(), FULL.features.clone()
    positions[0, 2] = float("nan")
    features[3, 1] = float("-inf")
    cloud = PointCloud(positions, features, FULL.names, FULL.labels).finite()
    assert torch.equal(cloud.positions, POSITIONS[1:3])
    assert cloud.labels.tolist() == [1, 4]


def test_a_feature_is_found_by_its_name():
    assert FULL.feature("ring").tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="no feature 'time'; this cloud has intensity, ring"):
        FULL.feature("time")


@pytest.mark.parametrize("part", ["features", "labels", "instances", "batch"])
def test_a_part_of_another_length_is_refused(part):
    short = {part: torch.zeros(3, dtype=torch.int64)} if part != "features" else {}
    features = torch.zeros(3 if part == "features" else 4, 0)
    with pytest.raises(ValueError, match=f"{part} has 3 rows; positions has 4"):
        PointCloud(POSITIONS, features, **short)


def test_wrong_shapes_names_and_types_are_refused():
    with pytest.raises(ValueError, match=r"positions has shape \(4, 2\); wanted \[P, 3\]"):
        PointCloud(POSITIONS[:, :2])
    with pytest.raises(TypeError, match=r"positions is a ndarray; wanted a torch\.Tensor"):
        PointCloud(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="but 1 names"):
        PointCloud(POSITIONS, torch.zeros(4, 2), ("intensity",))
    with pytest.raises(ValueError, match="wanted a different name for each feature"):
        PointCloud(POSITIONS, torch.zeros(4, 2), ("ring", "ring"))


@pytest.mark.parametrize("role", ["labels", "instances", "batch"])
def test_uint8_labels_which_would_pick_rows_like_a_mask_are_refused(role):
    with pytest.raises(TypeError, match=rf"{role} is torch\.uint8; wanted torch\.int64"):
        PointCloud(POSITIONS, **{role: torch.zeros(4, dtype=torch.uint8)})


def test_two_clouds_can_be_compared_and_kept_in_a_set():
    assert FULL == FULL
    assert FULL != FULL[:]
    assert len({FULL, FULL[:]}) == 2
