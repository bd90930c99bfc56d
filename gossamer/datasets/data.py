"""Data: labelled scans, some to learn from and some to be judged by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from gossamer.point_cloud import PointCloud


class Scans(Protocol):
    """Scans by number, read or made when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> PointCloud: ...


@dataclass(frozen=True)
class Data:
    """What a network can be trained on.

    Args:
        kind: "synthetic", "las" or "semantic_kitti".
        train: scans to learn from; their labels are rows of `classes`, or -1.
        validation: scans to be judged by, labelled likewise.
        classes: the names of the C classes.
        codes: [C], the number that a file has for each class; no class is 0.
        numbering: whose numbers those are, "SemanticKITTI" or "ASPRS" (of LAS files).
        split: how train and validation were divided, in lines for people.
        spacing: a typical distance between neighbouring points, metres.
        channels: what the network may know of a point, as `gossamer.datasets.encode` names it.
    """

    kind: str
    train: Scans
    validation: Scans
    classes: tuple[str, ...]
    codes: tuple[int, ...]
    numbering: str
    split: tuple[str, ...]
    spacing: float
    channels: tuple[str, ...] = ("height", "intensity")


def relabelled(cloud: PointCloud, codes: Sequence[int]) -> PointCloud:
    """The same points, labelled by the place of their label in `codes`, or -1 if it is not there.

    Args:
        cloud: labelled by the numbers of a file.
        codes: [C], distinct, from 0.
    """
    if cloud.labels is None:
        return cloud
    table = torch.full((max(codes) + 2,), -1, dtype=torch.int64)
    table[list(codes)] = torch.arange(len(codes))
    # Whatever lies beyond the codes ends on one of the two rows that are none of them.
    rows = cloud.labels.clamp(min=-1, max=max(codes) + 1)
    return replace(cloud, labels=table[rows])
