"""A trained network on whole scans: the class of each point, and how good those are."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gossamer.datasets import Data, Scans, collate, encode
from gossamer.errors import CheckpointError
from gossamer.point_cloud import PointCloud
from gossamer.training.checkpoint import Trained
from gossamer.training.metrics import Confusion


def predict(trained: Trained, cloud: PointCloud) -> Tensor:
    """[P] int64: the class of each point, -1 where its position is not finite.

    Args:
        trained: the network.
        cloud: one scan in metres, z up.

    Raises:
        ValueError: the points span more voxels than a key can number.
    """
    recipe = trained.recipe
    sound = cloud.positions.isfinite().all(1)
    labels = torch.full((len(cloud),), -1, dtype=torch.int64)
    if not bool(sound.any()):
        return labels
    points = cloud[sound]
    points = replace(points, features=points.features.nan_to_num(0.0, 0.0, 0.0))
    batch = collate([encode(points, recipe.channels)], recipe.voxel_size)
    was_training = trained.model.training
    trained.model.eval()
    with torch.no_grad():
        scores = trained.model(batch.voxels).features
    trained.model.train(was_training)
    labels[sound] = scores.argmax(1)[batch.voxel_of_point]
    return labels


class Relabelled:
    """Scans with their labels counted differently.

    Args:
        scans: labelled from 0, or -1.
        rows: [C], the new label of each label, or -1.
    """

    def __init__(self, scans: Scans, rows: list[int]):
        self.scans, self.rows = scans, torch.tensor([*rows, -1])

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> PointCloud:
        cloud = self.scans[index]
        return cloud if cloud.labels is None else replace(cloud, labels=self.rows[cloud.labels])


def aligned(data: Data, trained: Trained) -> Scans:
    """The scans that `data` holds out, labelled by the classes of the network.

    Raises:
        CheckpointError: none of the classes of `data` is one of the network's.
    """
    known = {code: row for row, code in enumerate(trained.codes)}
    rows = [known.get(code, -1) for code in data.codes]
    if data.numbering != trained.numbering or max(rows) < 0:
        raise CheckpointError(
            f"the checkpoint tells {', '.join(trained.classes)} ({trained.numbering} numbers "
            f"{trained.codes}) and the data {', '.join(data.classes)} ({data.numbering} numbers "
            f"{data.codes}); wanted some classes in common; train on this data first"
        )
    return Relabelled(data.validation, rows)


def evaluate(
    trained: Trained, scans: Scans, watch: Callable[[int, int], None] = lambda done, total: None
) -> Confusion:
    """How the network does on labelled scans, counted in points.

    Args:
        trained: the network.
        scans: labelled by its classes, or -1.
        watch: told after each scan how many are done, and of how many.
    """
    total = Confusion.none(len(trained.classes))
    for index in range(len(scans)):
        cloud = scans[index]
        if cloud.labels is None:
            raise ValueError(f"scan {index} has no labels; wanted labelled ones")
        predicted = predict(trained, cloud)
        truth = torch.where(predicted < 0, -1, cloud.labels)
        total += Confusion.of(predicted.clamp(min=0), truth, len(trained.classes))
        watch(index + 1, len(scans))
    return total
