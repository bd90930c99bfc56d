"""Points drawn into an image with numpy: nearest point wins, and depth edges are shaded."""

from dataclasses import dataclass

import numpy as np

from gossamer.view.framing import Framing

YAW, PITCH = -152.0, 32.0  # degrees: where the eye stands, seen from the target
OUTSIDE = -1e6  # a pixel that is on no image


@dataclass(frozen=True)
class Projected:
    """P points on an image of `shape` (height, width)."""

    pixels: np.ndarray  # [P, 2] float, column and row
    depth: np.ndarray  # [P] float > 0, metres from the eye
    size: np.ndarray  # [P] int, edge of the square that stands for a point, pixels
    shape: tuple[int, int]

    def __len__(self) -> int:
        """P, the number of points."""
        return len(self.pixels)


def from_above(positions: np.ndarray, frame: Framing, shape: tuple[int, int]) -> Projected:
    """The points seen straight from above, x to the right and y up.

    Args:
        positions: [P, 3] float, metres.
        frame: the middle of the image, and what is half its smaller edge.
        shape: height and width of the image, pixels.
    """
    scale = min(shape) / 2 / frame.radius
    x = (positions[:, 0] - frame.target[0]) * scale + shape[1] / 2
    y = (frame.target[1] - positions[:, 1]) * scale + shape[0] / 2
    top = positions[:, 2].max() if len(positions) else 0.0
    # As from a drone: far enough up that shading does not depend on the size of the scene.
    depth = top - positions[:, 2] + frame.radius
    size = np.full(len(positions), int(np.clip(frame.spacing * scale, 2, 5)))
    return Projected(np.stack([x, y], 1), depth, size, shape)


def in_perspective(positions: np.ndarray, frame: Framing, shape: tuple[int, int]) -> Projected:
    """The points seen from behind and above, in the direction of x.

    Args:
        positions: [P, 3] float, metres.
        frame: the point in the middle of the image, and how far away the scene reaches.
        shape: height and width of the image, pixels.
    """
    yaw, pitch = np.radians(YAW), np.radians(PITCH)
    distance = 1.15 * frame.radius + 0.6 * frame.height
    back = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    seen = positions - (np.array(frame.target) + distance * back)
    depth = -seen @ back
    focal = 0.9 * shape[1] / np.maximum(depth, 0.02 * frame.radius)
    pixels = np.array([shape[1], shape[0]]) / 2 + focal[:, None] * np.stack(
        [seen @ right, -seen @ np.cross(back, right)], 1
    )
    pixels[depth < 0.02 * frame.radius] = OUTSIDE
    size = np.clip(frame.spacing * focal, 2, 6).astype(int)
    return Projected(pixels, np.maximum(depth, 1e-6), size, shape)


def draw(points: Projected, colors: np.ndarray, background: np.ndarray) -> np.ndarray:
    """[height, width, 3] uint8: the image.

    Args:
        points: where they are.
        colors: [P, 3] uint8, one a point.
        background: [3] uint8.
    """
    height, width = points.shape
    nearest = np.full(height * width, np.inf)
    winner = np.full(height * width, -1)
    columns, rows = np.floor(points.pixels.clip(-1e6, 1e6)).astype(np.int64).T
    largest = int(points.size.max()) if len(points) else 0
    # Far points first, so that of those written to one cell the last, nearest one stays.
    order = np.argsort(-points.depth, kind="stable")
    for down in range(largest):
        for across in range(largest):
            these = order[points.size[order] > max(down, across)]
            u = columns[these] + across - points.size[these] // 2
            v = rows[these] + down - points.size[these] // 2
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            these, cell = these[inside], (v * width + u)[inside]
            candidate = np.full(height * width, -1)
            candidate[cell] = these
            hit = np.flatnonzero(candidate >= 0)
            hit = hit[points.depth[candidate[hit]] < nearest[hit]]
            winner[hit] = candidate[hit]
            nearest[hit] = points.depth[candidate[hit]]
    image = np.where((winner >= 0)[:, None], colors[winner] if len(colors) else 0, background)
    light = _eye_dome(nearest.reshape(points.shape))
    return (image.reshape(height, width, 3) * light[..., None]).round().astype(np.uint8)


def _eye_dome(depth: np.ndarray, strength: float = 6.0, distance: int = 2) -> np.ndarray:
    """[height, width] float in (0, 1]: dark where a neighbour lies well before the point."""
    height, width = depth.shape
    logarithm = np.log2(np.where(np.isfinite(depth), depth, 1.0))
    padded = np.pad(
        np.where(np.isfinite(depth), logarithm, np.inf), distance, constant_values=np.inf
    )
    darkness = np.zeros_like(depth)
    for down in (-distance, 0, distance):
        for across in (-distance, 0, distance):
            near = padded[distance + down :, distance + across :][:height, :width]
            darkness += np.maximum(0, logarithm - near)
    return np.where(np.isfinite(depth), np.exp(-strength * darkness / 8), 1.0)
