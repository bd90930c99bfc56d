"""Sensor: what a spinning LiDAR can see, and how well."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sensor:
    """A LiDAR that spins about z at the origin.

    Args:
        beams: lasers, one above the other.
        steps: shots of each beam in one turn.
        elevation: lowest and highest beam, degrees above the horizon.
        reach: shortest and longest range that is reported, metres.
        noise: standard deviation of a range, metres.
        dropout: share of the returns that get lost, 0 to 1.

    Raises:
        ValueError: an argument is out of its range.
    """

    beams: int = 64
    steps: int = 1800
    elevation: tuple[float, float] = (-24.8, 8.0)
    reach: tuple[float, float] = (2.0, 80.0)
    noise: float = 0.015
    dropout: float = 0.05

    def __post_init__(self):
        for name in ("beams", "steps"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"{name} is {value!r}; wanted a whole number from 1")
        low, high = self.elevation
        if not -90 < low <= high < 90:
            raise ValueError(
                f"elevation is {self.elevation}; wanted (lowest, highest) in degrees, "
                "both between -90 and 90"
            )
        near, far = self.reach
        if not 0 <= near < far < float("inf"):
            raise ValueError(f"reach is {self.reach}; wanted 0 <= shortest < longest in metres")
        if not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise is {self.noise}; wanted metres, 0 for exact ranges")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout is {self.dropout}; wanted a share from 0 to 1")
