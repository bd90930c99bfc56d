"""One HTML file of one scan, to turn and zoom: it opens from disk and asks the network nothing."""

import html
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gossamer.io.atomic import written_beside
from gossamer.point_cloud import PointCloud
from gossamer.view.framing import framing
from gossamer.view.palette import CORRECT, RAMP, UNLABELLED, WRONG, class_colors, rgb
from gossamer.view.scene import VERDICTS, Scene, scene, spread

SCRIPTS = ("scene.js", "camera.js", "canvas.js", "gestures.js", "overlay.js", "panel.js", "page.js")
STEPS = 2**24 - 1  # positions on each axis: a millimetre in a scene of 16 km
FEATURE_BYTES = 4  # a point; with positions and classes 500,000 points stay near 10 MB
RGB = ("red", "green", "blue")


def save_html(
    path: str | Path,
    cloud: PointCloud,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    truth: Tensor | None = None,
    title: str = "",
    limit: int = 500_000,
) -> None:
    """Write a page on which a scan can be turned, zoomed, filtered and coloured.

    Colours tell the class, the truth, the errors, the height, what the camera saw (features red,
    green, blue) or any other feature: the first four that are not the same for all points. The
    file stands alone and holds about 20 bytes a point.

    Args:
        path: where to write, a .html; folders are made, and a file there is replaced.
        cloud: P points of one scan, metres; points without a finite position are left out.
        labels: [P] integer, predicted classes, -1 for none.
        classes: the names of the classes.
        truth: [P] integer, true classes, -1 for none.
        title: a headline.
        limit: of more points than this, as many are drawn at random, and the page says so.

    Raises:
        TypeError: the cloud is no PointCloud, or labels are not integer tensors.
        ValueError: labels of another length or outside the classes, several scans at once, or a
            limit below 1.
        OSError: the file cannot be written.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}; wanted at least 1 point")
    shown = scene(cloud, labels, classes, truth).at_most(limit)
    web = files("gossamer.view") / "web"
    parts = {
        "title": html.escape(title or Path(path).stem),
        "css": (web / "page.css").read_text("utf-8"),
        "scripts": "\n".join((web / name).read_text("utf-8") for name in SCRIPTS),
        "scene": _as_json(_told(shown)),
    }
    template = (web / "page.html").read_text("utf-8")
    # One pass, so that braces inside a part are never taken for a place to fill.
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)
    with written_beside(path) as unfinished:
        unfinished.write_text(page, "utf-8", "xmlcharrefreplace")


def _told(shown: Scene) -> dict[str, Any]:
    frame = framing(shown.positions)
    return {
        "count": len(shown),
        "notes": shown.notes,
        "frame": asdict(frame),
        "labels": _packed(shown.labels),
        "truth": _packed(shown.truth),
        "classes": shown.classes,
        "colors": class_colors(shown.classes).tolist(),
        "unlabelled": rgb(UNLABELLED).tolist(),
        "verdicts": VERDICTS,
        "verdictColors": [rgb(color).tolist() for color in (CORRECT, WRONG, UNLABELLED)],
        "ramp": [rgb(color).tolist() for color in RAMP],
        "height": shown.height_range,
        **_positions(shown.positions),
        **_features(shown.features),
    }


def _positions(positions: np.ndarray) -> dict[str, Any]:
    """Steps of 24 bits from the lowest corner, one axis after the other."""
    if not len(positions):
        return {"low": (0, 0, 0), "step": (1, 1, 1), "positions": ""}
    low, high = positions.min(0), positions.max(0)
    step = np.where(high > low, (high - low) / STEPS, 1.0)
    steps = ((positions - low) / step).round().astype("<u4")  # [P, 3]
    three = np.ascontiguousarray(steps.T).view(np.uint8).reshape(-1, 4)[:, :3]
    return {"low": low.tolist(), "step": step.tolist(), "positions": _packed(three)}


def _features(features: dict[str, np.ndarray]) -> dict[str, Any]:
    told, camera, room = [], None, FEATURE_BYTES
    if all(name in features for name in RGB):
        camera, room = _packed(_as_bytes(np.stack([features[name] for name in RGB], 1))), room - 3
    for name, values in features.items():
        plain = not len(values) or values.min() == values.max()
        if plain or not room or (camera and name in RGB):
            continue
        low, high = spread(values)
        codes = np.clip((values - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
        told.append({"name": name or "feature", "low": low, "high": high, "data": _packed(codes)})
        room -= 1
    return {"features": told, "rgb": camera}


def _as_bytes(colors: np.ndarray) -> np.ndarray:
    """Camera colours as 0 to 255, from 0 to 1, from 8 bits or from the 16 bits of LAS."""
    most = float(colors.max()) if len(colors) else 0.0
    scale = 255.0 if most <= 1 else 1.0 if most <= 255 else 1 / 257
    return np.clip(colors * scale, 0, 255).round().astype(np.uint8)


def _packed(values: np.ndarray | None) -> str | None:
    return None if values is None else b64encode(values.tobytes()).decode("ascii")


def _as_json(told: dict[str, Any]) -> str:
    # Nothing in a name can end the script element or open a comment in it.
    text = json.dumps(told, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
