"""A run is a function that returns a Recipe; variants derive from one another by `replace`."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gossamer.datasets import Augmentation, Data


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what training makes of a data set.

    Args:
        channels: what the network knows of a point, as `gossamer.datasets.encode` names it.
        voxel_size: edge of a voxel, metres.
        width: of the MinkUNet; 1.0 is the published one.
        epochs: how often the learning rate's one cycle sees the training scans.
        samples: scans an epoch; None is each once, more repeats them, differently changed.
        batch_size: scans a step.
        learning_rate: the highest one, of AdamW.
        weight_decay: of AdamW.
        warm_up: share of the steps in which the learning rate rises.
        augmentation: how far scans are changed.
        seed: of the first weights, the order of the scans and their changes.

    Raises:
        ValueError: a number is out of its range.
    """

    channels: tuple[str, ...] = ("height", "intensity")
    voxel_size: float = 0.2
    width: float = 0.5
    epochs: int = 8
    samples: int | None = None
    batch_size: int = 2
    learning_rate: float = 5e-3
    weight_decay: float = 0.02
    warm_up: float = 0.25
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self):
        for name in ("voxel_size", "width", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; wanted a number above 0")
        for name in ("epochs", "batch_size", "samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; wanted at least 1")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; wanted a whole number from 0")


def demo(data: Data) -> Recipe:
    """A few minutes on two cores, and some tolerance of sensors that are not the simulated one."""
    return Recipe(
        channels=data.channels,
        voxel_size=0.2,
        width=0.25,
        epochs=4,
        augmentation=Augmentation(hide=0.3, bands=0.5),
    )


def synthetic(data: Data) -> Recipe:
    """Longer than the demo, for a better score on simulated streets."""
    return replace(demo(data), width=0.5, epochs=24)


def las(data: Data) -> Recipe:
    """Voxels as large as the scan is coarse, and many looks at what is often a single tile."""
    return Recipe(
        channels=data.channels,
        voxel_size=float(f"{data.spacing:.1g}"),
        epochs=20,
        samples=max(16, len(data.train)),
        batch_size=2,
        augmentation=Augmentation(scale=0.1, drop=0.3, hide=0.1),
    )


def semantic_kitti(data: Data) -> Recipe:
    """The settings of the published MinkUNet, but for the optimiser."""
    return Recipe(channels=data.channels, voxel_size=0.05, width=1.0, epochs=15)


RECIPES: dict[str, Callable[[Data], Recipe]] = {
    "synthetic": synthetic,
    "las": las,
    "semantic_kitti": semantic_kitti,
}


def recipe_for(data: Data) -> Recipe:
    """What to try first with this data."""
    return RECIPES[data.kind](data)
