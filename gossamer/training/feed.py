"""From the scans of a data set to the batches of a step, in an order that the recipe decides."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from gossamer.datasets import Batch, Scans, augment, collate, encode
from gossamer.point_cloud import PointCloud
from gossamer.training.recipes import Recipe

KEPT = 200  # scans: so many fit in memory (3 MB each), and are read and encoded only once


class Prepared:
    """Scans as the network knows them, kept in memory if they are few.

    Args:
        scans: labelled ones.
        channels: as `gossamer.datasets.encode` takes them.
    """

    def __init__(self, scans: Scans, channels: tuple[str, ...]):
        self.scans, self.channels = scans, channels
        self.kept: dict[int, PointCloud] = {}

    def __len__(self) -> int:
        return len(self.scans)

    def __getitem__(self, index: int) -> PointCloud:
        if index in self.kept:
            return self.kept[index]
        cloud = encode(self.scans[index], self.channels)
        if len(self) <= KEPT:
            self.kept[index] = cloud
        return cloud

    def fill(self, watch: Callable[[int, int], None]) -> None:
        """Prepare all scans that will be kept, telling `watch` how many are done, of how many."""
        if len(self) <= KEPT:
            for index in range(len(self)):
                self[index]
                watch(index + 1, len(self))


class Epoch(Dataset):
    """The scans of one epoch from some place on, in random order, each changed at random.

    A scan and its change follow from seed, epoch and place alone, in any process.

    Args:
        scans: what to draw from.
        recipe: how many, how changed, and the seed.
        epoch: which one, from 0.
        first: how many scans of it to leave out.
    """

    def __init__(self, scans: Prepared, recipe: Recipe, epoch: int, first: int = 0):
        self.scans, self.recipe, self.epoch, self.first = scans, recipe, epoch, first
        count, random = recipe.samples or len(scans), np.random.default_rng((recipe.seed, epoch))
        rounds = -(-count // len(scans))
        self.order = np.concatenate([random.permutation(len(scans)) for _ in range(rounds)])[:count]

    def __len__(self) -> int:
        return len(self.order) - self.first

    def __getitem__(self, index: int) -> PointCloud:
        place = self.first + index
        random = np.random.default_rng((self.recipe.seed, self.epoch, place))
        return augment(self.scans[int(self.order[place])], self.recipe.augmentation, random)


def batches(scans: Prepared, recipe: Recipe, step: int, workers: int) -> Iterator[Batch]:
    """The batches from `step` to the end of its epoch.

    Args:
        scans: what to draw from.
        recipe: how.
        step: counted from the beginning of the training.
        workers: processes that prepare batches; 0 prepares them between steps.
    """
    epoch, done = divmod(step, steps_an_epoch(scans, recipe))
    return iter(
        DataLoader(
            Epoch(scans, recipe, epoch, done * recipe.batch_size),
            recipe.batch_size,
            collate_fn=partial(collate, voxel_size=recipe.voxel_size),
            num_workers=workers,
            # Its own, because the loader draws a number even where nothing is random.
            generator=torch.Generator().manual_seed(recipe.seed),
        )
    )


def steps_an_epoch(scans: Prepared, recipe: Recipe) -> int:
    """How many batches an epoch has; the last one may be smaller."""
    return -(-(recipe.samples or len(scans)) // recipe.batch_size)
