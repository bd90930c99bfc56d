"""Where to look from, so that most of a scan is seen and far stray returns do no harm."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Framing:
    """Where to look, and how large what is there is; all lengths in metres."""

    target: tuple[float, float, float]
    radius: float  # half the edge of the square that most points lie in, seen from above
    height: float  # between the lowest and the highest
    spacing: float  # between points, were they spread evenly


def framing(positions: np.ndarray) -> Framing:
    """The framing of most points; single far returns do not shrink the rest.

    Args:
        positions: [P, 3] float, metres.
    """
    if not len(positions):
        return Framing((0.0, 0.0, 0.0), 10.0, 0.0, 0.1)
    near, far = np.percentile(positions, (5, 95), axis=0)
    x, y, _ = ((near + far) / 2).tolist()
    reach = np.percentile(np.abs(positions[:, :2] - (x, y)), 95, axis=0).max()
    low, high = np.percentile(positions[:, 2], (1, 99)).tolist()
    radius = max(1.1 * float(reach), 0.6 * (high - low), 0.1)
    spacing = 1.1 * radius / len(positions) ** 0.5
    # Between the ground and what most points are: a street looks down, a roof is not left above.
    middle = (low + 0.3 * (high - low) + float(np.median(positions[:, 2]))) / 2
    return Framing((x, y, middle), radius, high - low, spacing)
