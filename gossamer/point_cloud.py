"""PointCloud: positions in metres, features, labels, and the scan each point belongs to."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gossamer.checks import floating


@dataclass(frozen=True, eq=False)
class PointCloud:
    """P points of one scan, or of several when `batch` tells them apart.

    Args:
        positions: [P, 3] float32 or float64, metres, (x, y, z).
        features: [P, F] float32. Default: no features.
        names: what each of the F features is, for instance ("intensity", "ring").
        labels: [P] int64, the class of each point.
        instances: [P] int64, the object each point belongs to; 0 is none.
        batch: [P] int64, the scan of each point. Default: one scan.

    Raises:
        ValueError: positions are not [P, 3], another tensor has a different number of rows, or two
            features have one name.
        TypeError: not a tensor, or of another dtype.
    """

    positions: Tensor
    features: Tensor = None  # type: ignore[assignment]  # filled in below
    names: tuple[str, ...] = ()
    labels: Tensor | None = None
    instances: Tensor | None = None
    batch: Tensor | None = None

    def __post_init__(self):
        if floating("positions", self.positions, 2).shape[1] != 3:
            raise ValueError(f"positions has shape {tuple(self.positions.shape)}; wanted [P, 3]")
        if self.features is None:
            empty = self.positions.new_empty(len(self), 0, dtype=torch.float32)
            object.__setattr__(self, "features", empty)
        object.__setattr__(self, "names", tuple(self.names))
        if floating("features", self.features, 2).shape[1] != len(self.names):
            raise ValueError(
                f"features has shape {tuple(self.features.shape)} but {len(self.names)} names "
                f"{self.names}; wanted [P, {len(self.names)}], one name a column"
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names is {self.names}; wanted a different name for each feature")
        for name in ("features", "labels", "instances", "batch"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self):
                raise ValueError(f"{name} has {len(value)} rows; positions has {len(self)}")
            # uint8 would pick rows as a mask does, not as an index does
            if name != "features" and value is not None and value.dtype != torch.int64:
                raise TypeError(f"{name} is {value.dtype}; wanted torch.int64: {name}.long()")

    def __len__(self) -> int:
        """P, the number of points."""
        return self.positions.shape[0]

    def __getitem__(self, rows: Tensor | slice) -> "PointCloud":
        """The points that `rows` picks: a slice, a mask [P] or indices."""
        picked = {
            f.name: value[rows]
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **picked)

    def to(self, device: torch.device | str) -> "PointCloud":
        """The same points on another device."""
        moved = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def feature(self, name: str) -> Tensor:
        """[P] float32: the feature called `name`.

        Raises:
            ValueError: this cloud has no such feature.
        """
        if name not in self.names:
            raise ValueError(
                f"no feature {name!r}; this cloud has {', '.join(self.names) or 'none'}"
            )
        return self.features[:, self.names.index(name)]

    def finite(self) -> "PointCloud":
        """The points whose position and features hold no NaN and no infinity."""
        return self[self.positions.isfinite().all(1) & self.features.isfinite().all(1)]
