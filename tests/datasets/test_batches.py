"""From scans to batches: changes at random, voxels, and the labels of voxels."""

from collections import Counter
from math import pi

import numpy as np
import pytest
import torch

from gossamer import PointCloud
from gossamer.datasets import ADDED, Augmentation, augment, collate
from gossamer.datasets.collate import majority

STILL = Augmentation(turn=0, mirror=False, scale=0, drop=0, hide=0)


def cloud(points: int = 500, seed: int = 0, extent: float = 10.0) -> PointCloud:
    rng = torch.Generator().manual_seed(seed)
    return PointCloud(
        torch.rand(points, 3, generator=rng) * extent - extent / 2,
        torch.rand(points, 2, generator=rng),
        ("height", "intensity"),
        torch.randint(-1, 4, (points,), generator=rng),
    )


def distances(positions: torch.Tensor) -> torch.Tensor:
    return torch.cdist(positions[:100].double(), positions[:100].double())


def test_a_change_keeps_shapes_up_to_one_scale_and_upright_things_upright():
    how = Augmentation(turn=pi, mirror=True, scale=0.1, drop=0)
    seen = []
    for seed in range(20):
        before, after = cloud(), augment(cloud(), how, np.random.default_rng(seed))
        factor = after.positions[0, 2] / before.positions[0, 2]
        assert 0.9 <= factor <= 1.1
        torch.testing.assert_close(
            distances(after.positions), distances(before.positions) * factor, atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(after.positions[:, 2], before.positions[:, 2] * factor)
        moved = torch.linalg.lstsq(before.positions[:, :2], after.positions[:, :2]).solution
        seen.append(bool(torch.linalg.det(moved) < 0))
    assert 3 < sum(seen) < 17  # mirrored in about half of the scans


def test_the_same_random_numbers_make_the_same_change():
    how = Augmentation(hide=0.5)
    first, second = (augment(cloud(), how, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first.positions, second.positions)
    assert torch.equal(first.features, second.features)
    other = augment(cloud(), how, np.random.default_rng(8))
    assert len(other) != len(first) or not torch.equal(other.positions, first.positions)


def test_no_change_is_no_change():
    same = augment(cloud(), STILL, np.random.default_rng(0))
    assert torch.equal(same.positions, cloud().positions)


def test_hiding_leaves_the_height_alone():
    hidden = augment(cloud(), Augmentation(drop=0, hide=1.0), np.random.default_rng(0))
    assert torch.equal(hidden.features[:, 0], cloud().features[:, 0])
    assert (hidden.features[:, 1] == 0).all()


def test_rings_differ_in_brightness_by_one_offset_each_and_never_in_height():
    before = PointCloud(
        torch.rand(4000, 3) * 40 - 20, torch.zeros(4000, 2), ("height", "intensity")
    )
    how = Augmentation(turn=0, mirror=False, scale=0, drop=0, bands=0.5)
    after = augment(before, how, np.random.default_rng(0))
    assert (after.features[:, 0] == 0).all() and after.features.abs().max() <= 1
    ring = (20 * before.positions[:, :2].norm(dim=1).clamp(min=1).log()).long()
    for number in ring.unique():
        assert len(after.features[ring == number, 1].unique()) == 1
    assert len(after.features[:, 1].unique()) > 0.8 * len(ring.unique())


def test_dropped_points_take_their_labels_along():
    numbered = cloud()
    numbered = PointCloud(
        numbered.positions, numbered.features, numbered.names, torch.arange(len(numbered))
    )
    kept = augment(numbered, Augmentation(drop=0.5), np.random.default_rng(1))
    assert 250 <= len(kept) < 500
    assert torch.equal(kept.features[:, 0], numbered.features[kept.labels, 0])


def test_every_point_lies_in_its_voxel_and_voxels_know_their_points():
    clouds = [cloud(300, 1), cloud(200, 2)]
    batch = collate(clouds, 0.5)
    rows = batch.voxels.coords[batch.voxel_of_point]
    positions = torch.cat([c.positions for c in clouds])
    assert torch.equal(rows[:, 0], torch.tensor([0] * 300 + [1] * 200, dtype=torch.int32))
    assert torch.equal(rows[:, 1:], (positions / 0.5).floor().int())
    for row in range(0, len(batch.voxels), 40):
        mine = batch.voxel_of_point == row
        known = torch.cat([c.features for c in clouds])[mine].mean(0)
        place = (positions[mine] / 0.5 - rows[mine][:, 1:] - 0.5).mean(0)
        expected = torch.cat([torch.ones(1), place, known])
        torch.testing.assert_close(batch.voxels.features[row], expected, atol=1e-5, rtol=1e-4)
    assert batch.voxels.channels == ADDED + 2


def test_a_voxel_has_the_label_of_most_of_its_points():
    batch = collate([cloud(2000, extent=4.0)], 1.0)
    for row in range(len(batch.voxels)):
        labels = batch.point_labels[(batch.voxel_of_point == row) & (batch.point_labels >= 0)]
        votes = Counter(labels.tolist())
        most = max(votes.values(), default=0)
        expected = min((label for label, n in votes.items() if n == most), default=-1)
        assert int(batch.labels[row]) == expected


def test_where_no_point_has_a_label_no_voxel_has():
    batch = collate([PointCloud(torch.rand(50, 3))], 0.2)
    assert (batch.labels == -1).all() and (batch.point_labels == -1).all()
    assert torch.equal(majority(torch.zeros(0, dtype=torch.int64), batch.labels[:0], 3),
                       torch.full((3,), -1))  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_alike_from_worker_processes(workers):
    loader = torch.utils.data.DataLoader(
        [cloud(200, seed) for seed in range(4)],  # type: ignore[arg-type]
        batch_size=2,
        num_workers=workers,
        collate_fn=lambda clouds: collate(clouds, 0.5),
    )
    for number, batch in enumerate(loader):
        alone = collate([cloud(200, 2 * number), cloud(200, 2 * number + 1)], 0.5)
        assert torch.equal(batch.voxels.features, alone.voxels.features)
        assert torch.equal(batch.labels, alone.labels)
