"""Batch: a few scans as the voxels a network takes and the labels it is judged by."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.point_cloud import PointCloud
from gossamer.tensor import SparseTensor
from gossamer.voxels import voxelize

# A constant, by which a convolution counts neighbours, and where in its voxel the mean point lies.
ADDED = 4


@dataclass(frozen=True)
class Batch:
    """B scans.

    Args:
        voxels: [N, 4 + C] features.
        voxel_of_point: [P] int64, rows of `voxels`.
        point_labels: [P] int64, the class of each point, -1 where it has none.
        labels: [N] int64, the class of most points of each voxel, -1 where none has one.
    """

    voxels: SparseTensor
    voxel_of_point: Tensor
    point_labels: Tensor
    labels: Tensor


def collate(clouds: Sequence[PointCloud], voxel_size: float) -> Batch:
    """The batch of these scans.

    Args:
        clouds: B scans with the same C features, about their middle; without labels, all are -1.
        voxel_size: metres.
    """
    positions = torch.cat([cloud.positions for cloud in clouds])
    features = torch.cat([cloud.features for cloud in clouds])
    sizes = torch.tensor([len(cloud) for cloud in clouds])
    batch = torch.arange(len(clouds)).repeat_interleave(sizes)
    place = positions / voxel_size
    inside = place - place.floor() - 0.5
    known = torch.cat([torch.ones(len(positions), 1), inside, features], dim=1)
    voxels, voxel_of_point = voxelize(positions, known, voxel_size, batch, batch_size=len(clouds))
    point_labels = torch.cat([_labels(cloud) for cloud in clouds])
    labels = majority(voxel_of_point, point_labels, len(voxels))
    return Batch(voxels, voxel_of_point, point_labels, labels)


def majority(group: Tensor, labels: Tensor, groups: int) -> Tensor:
    """[groups] int64: the label that most members have, the smallest at a tie, -1 without any.

    Args:
        group: [P] int64, the group of each member.
        labels: [P] int64 from 0, or -1, which does not count.
        groups: how many groups there are.
    """
    counted = labels >= 0
    classes = int(labels.max()) + 1 if bool(counted.any()) else 1
    votes = torch.bincount(group[counted] * classes + labels[counted], minlength=groups * classes)
    most, winner = votes.view(groups, classes).max(1)
    return torch.where(most > 0, winner, -1)


def _labels(cloud: PointCloud) -> Tensor:
    none = torch.full((len(cloud),), -1, dtype=torch.int64)
    return none if cloud.labels is None else cloud.labels
