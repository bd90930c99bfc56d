"""What a picture and a page both show: checked arrays, and the place to look from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gossamer.point_cloud import PointCloud
from gossamer.view.palette import CORRECT, UNLABELLED, WRONG, class_colors, ramp, rgb

NONE = 255  # the code of a point without a class
VERDICTS = ("correct", "wrong", "not judged")


@dataclass(frozen=True)
class Scene:
    """P points as arrays, every position finite and every label one of the classes or NONE."""

    positions: np.ndarray  # [P, 3] float64, metres
    labels: np.ndarray | None  # [P] uint8
    truth: np.ndarray | None  # [P] uint8
    features: dict[str, np.ndarray]  # each [P] float32
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """P, the number of points."""
        return len(self.positions)

    def __getitem__(self, rows: np.ndarray) -> "Scene":
        """The points that `rows` picks: a mask [P] or indices."""
        return replace(
            self,
            positions=self.positions[rows],
            labels=None if self.labels is None else self.labels[rows],
            truth=None if self.truth is None else self.truth[rows],
            features={name: values[rows] for name, values in self.features.items()},
        )

    @property
    def verdicts(self) -> np.ndarray | None:
        """[P] uint8, indices into VERDICTS; None where there is nothing to compare."""
        if self.labels is None or self.truth is None:
            return None
        unknown = (self.truth == NONE) | (self.labels == NONE)
        return np.where(unknown, 2, self.labels != self.truth).astype(np.uint8)

    @property
    def height_range(self) -> tuple[float, float]:
        """The heights between which 98 % of the points lie, metres."""
        return spread(self.positions[:, 2])

    def codes(self, by: str) -> np.ndarray:
        """[P] uint8: rows of `colors(by)`, by "class", "truth" or "verdict"."""
        codes = {"class": self.labels, "truth": self.truth, "verdict": self.verdicts}[by]
        return np.full(len(self), NONE, np.uint8) if codes is None else codes

    def colors(self, by: str) -> np.ndarray:
        """[256, 3] uint8: the colour of every code; those without a meaning look unlabelled."""
        table = np.tile(rgb(UNLABELLED), (NONE + 1, 1))
        if by == "verdict":
            table[:2] = rgb(CORRECT), rgb(WRONG)
        else:
            table[: len(self.classes)] = class_colors(self.classes)
        return table

    def paint(self, by: str) -> np.ndarray:
        """[P, 3] uint8: the colour of each point by "class", "truth", "verdict" or "height"."""
        if by == "height":
            low, high = self.height_range
            return ramp((self.positions[:, 2] - low) / (high - low))
        return self.colors(by)[self.codes(by)]

    def at_most(self, limit: int) -> "Scene":
        """The same scene, or `limit` points of it drawn at random, always the same ones."""
        if len(self) <= limit:
            return self
        rows = np.sort(np.random.default_rng(0).choice(len(self), limit, replace=False))
        note = f"{limit:,} of {len(self):,} points, drawn at random"
        return replace(self[rows], notes=(*self.notes, note))


def scene(
    cloud: PointCloud, labels: Tensor | None, classes: Sequence[str], truth: Tensor | None
) -> Scene:
    """The scene of one scan; points without a finite position are left out, with a note.

    Args:
        cloud: the points.
        labels: [P] integer, predicted classes, -1 for none. Default: coloured by height.
        classes: the names of the C classes.
        truth: [P] integer, true classes, -1 for none.

    Raises:
        TypeError: the cloud is no PointCloud, or labels are not integer tensors.
        ValueError: labels of another length or outside the classes, or several scans at once.
    """
    if not isinstance(cloud, PointCloud):
        raise TypeError(f"cloud is a {type(cloud).__name__}; wanted a gossamer.PointCloud")
    if cloud.batch is not None and len(cloud.batch) and (cloud.batch != cloud.batch[0]).any():
        scans = len(cloud.batch.unique())
        raise ValueError(f"cloud holds {scans} scans; view one: cloud[cloud.batch == 0]")
    if len(classes) > NONE:
        raise ValueError(f"classes has {len(classes)} names; wanted at most {NONE}")
    whole = Scene(
        positions=cloud.positions.detach().cpu().double().numpy(),
        labels=_codes("labels", labels, len(cloud), len(classes)),
        truth=_codes("truth", truth, len(cloud), len(classes)),
        features={
            name: np.nan_to_num(column.detach().cpu().float().numpy(), posinf=0.0, neginf=0.0)
            for name, column in zip(cloud.names, cloud.features.T, strict=True)
        },
        classes=tuple(map(str, classes)),
    )
    finite = np.asarray(np.isfinite(whole.positions).all(1))
    if finite.all():
        return whole
    lost = int((~finite).sum())
    note = f"{lost:,} point{'s' * (lost > 1)} without a finite position left out"
    return replace(whole[finite], notes=(note,))


def spread(values: np.ndarray) -> tuple[float, float]:
    """The numbers between which 98 % of `values` lie, never equal."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 99)).tolist()
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _codes(name: str, labels: Tensor | None, points: int, classes: int) -> np.ndarray | None:
    if labels is None:
        return None
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{name} is {kind}; wanted an integer torch.Tensor [P]")
    if labels.shape != (points,):
        raise ValueError(
            f"{name} has shape {tuple(labels.shape)}; wanted [{points}], one a point of the cloud"
        )
    values = labels.detach().cpu().to(torch.int64).numpy()
    if points and (values.max() >= classes or values.min() < -1):
        worst = values.max() if values.max() >= classes else values.min()
        row = int(np.flatnonzero(values == worst)[0])
        raise ValueError(
            f"{name} row {row} is {worst}; wanted 0 to {classes - 1}, one of the {classes} "
            "classes, or -1 for a point without a class"
        )
    return np.where(values < 0, NONE, values).astype(np.uint8)
