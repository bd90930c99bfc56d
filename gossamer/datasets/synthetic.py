"""Simulated street scans: as many as wanted, the same for everybody."""

from collections.abc import Sequence
from dataclasses import replace

from gossamer.datasets.data import Data
from gossamer.point_cloud import PointCloud
from gossamer.synthetic import CLASSES, Sensor, simulate

# The numbers SemanticKITTI's files have for these classes, so that its viewers show ours.
CODES = {
    "road": 40,
    "pavement": 48,
    "terrain": 72,
    "building": 50,
    "fence": 51,
    "vegetation": 70,
    "trunk": 71,
    "pole": 80,
    "car": 10,
    "truck": 18,
    "cyclist": 31,
    "pedestrian": 30,
}
# Far from the seeds of any training set, so that no street is in both.
FIRST_HELD_OUT = 1_000_000
# Sensors other than the one the scores are measured with: denser, sparser, wider.
OTHERS = (
    Sensor(beams=128, steps=1024, elevation=(-22.5, 22.5), reach=(0.8, 120.0), noise=0.02),
    Sensor(beams=32, steps=1080, elevation=(-30.7, 10.7), reach=(1.0, 80.0), noise=0.02),
    Sensor(beams=128, steps=1024, elevation=(-45.0, 45.0), reach=(0.5, 60.0), noise=0.02),
)


class SyntheticScans:
    """Scan number i is the simulation of seed `seeds[i]`.

    Args:
        seeds: of the streets.
        others: every how manieth scan comes from another sensor; 0 is never.
    """

    def __init__(self, seeds: Sequence[int], others: int = 0):
        self.seeds, self.others = seeds, others

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> PointCloud:
        seed = self.seeds[index]
        turn, left = divmod(index, self.others) if self.others else (0, 1)
        sensor = None if left else OTHERS[turn % len(OTHERS)]
        return replace(simulate(seed, sensor).cloud, instances=None)


def synthetic(train: int = 150, validation: int = 10, others: int = 3) -> Data:
    """Simulated streets.

    Args:
        train: how many scans to learn from.
        validation: how many other streets to be judged by.
        others: every how manieth scan of `train` comes from another sensor; 0 is never.

    Raises:
        ValueError: a count is below 1.
    """
    for name, count in (("train", train), ("validation", validation)):
        if count < 1:
            raise ValueError(f"{name} is {count} scans; wanted at least 1")
    held_out = range(FIRST_HELD_OUT, FIRST_HELD_OUT + validation)
    return Data(
        kind="synthetic",
        train=SyntheticScans(range(train), others),
        validation=SyntheticScans(held_out),
        classes=CLASSES,
        codes=tuple(CODES[name] for name in CLASSES),
        numbering="SemanticKITTI",
        split=(
            f"{train} simulated streets to learn from (seeds 0 to {train - 1}), {validation} held "
            f"out (seeds {held_out[0]} to {held_out[-1]})",
        ),
        spacing=0.2,
    )
