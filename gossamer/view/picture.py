"""A picture of one scan: in perspective, from above, and beside the truth where that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gossamer.io.atomic import written_beside
from gossamer.point_cloud import PointCloud
from gossamer.view.framing import Framing, framing
from gossamer.view.legend import Entry, legend
from gossamer.view.palette import RAMP, rgb
from gossamer.view.raster import draw, from_above, in_perspective
from gossamer.view.scene import Scene, scene

DPI = 100
BACKGROUND, TEXT, QUIET = "#0f1217", "#e8ebf0", "#97a1b0"
MARGIN, GAP, HEAD, LEGEND, CAPTION = 24, 16, 84, 280, 30  # pixels
WIDE = 1576  # pixels that panels share


@dataclass(frozen=True)
class Panel:
    """One image of the picture: what it is coloured by, how it is seen, and where, in pixels."""

    caption: str
    by: str
    above: bool
    left: int
    top: int
    shape: tuple[int, int]  # height, width


def save_png(
    path: str | Path,
    cloud: PointCloud,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    truth: Tensor | None = None,
    title: str = "",
) -> None:
    """Write a picture of a scan, coloured by class, in perspective and from above.

    With `truth`, prediction and truth stand side by side and a third view from above shows the
    errors. Without `labels` the colours tell heights.

    Args:
        path: where to write, a .png; folders are made, and a file there is replaced.
        cloud: P points of one scan, metres; points without a finite position are left out.
        labels: [P] integer, predicted classes, -1 for none.
        classes: the names of the classes.
        truth: [P] integer, true classes, -1 for none.
        title: a headline.

    Raises:
        TypeError: the cloud is no PointCloud, or labels are not integer tensors.
        ValueError: labels of another length or outside the classes, or several scans at once.
        ImportError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    shown = scene(cloud, labels, classes, truth)
    panels = _panels(shown)
    figure = _figure(max(panel.top + panel.shape[0] for panel in panels) + MARGIN)
    _headline(figure, title or Path(path).stem, shown)
    frame = framing(shown.positions)
    for panel in panels:
        _draw_panel(figure, panel, shown, frame)
    _draw_legend(figure, shown)
    with written_beside(path) as unfinished:
        figure.savefig(unfinished, format="png", facecolor=BACKGROUND)


def _panels(shown: Scene) -> list[Panel]:
    first, below = HEAD + CAPTION, HEAD + 2 * CAPTION + 520 + GAP
    if shown.labels is None or shown.truth is None:
        by = "height" if shown.labels is None else "class"
        beside = MARGIN + WIDE - 640
        return [
            Panel("Perspective", by, False, MARGIN, first, (640, WIDE - 640 - GAP)),
            Panel("From above", by, True, beside, first, (640, 640)),
        ]
    half, third = (WIDE - GAP) // 2, (WIDE - 2 * GAP) // 3
    columns = [MARGIN + column * (third + GAP) for column in range(3)]
    return [
        Panel("Prediction", "class", False, MARGIN, first, (520, half)),
        Panel("Truth", "truth", False, MARGIN + half + GAP, first, (520, half)),
        Panel("Prediction from above", "class", True, columns[0], below, (third, third)),
        Panel("Truth from above", "truth", True, columns[1], below, (third, third)),
        Panel("Errors from above", "verdict", True, columns[2], below, (third, third)),
    ]


def _figure(height: int) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install gossamer[viz]") from error
    width = MARGIN + WIDE + MARGIN + LEGEND + MARGIN
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)  # no window system, and no pyplot state to leave behind
    return figure


def _headline(figure: Any, title: str, shown: Scene) -> None:
    _write(figure, MARGIN, 40, title, size=17, weight="bold")
    facts = [f"{len(shown):,} points", *shown.notes]
    if (verdicts := shown.verdicts) is not None and (judged := (verdicts < 2).sum()):
        facts.append(f"{(verdicts == 0).sum() / judged:.1%} agree with the truth")
    _write(figure, MARGIN, 68, "  ·  ".join(facts), size=11, color=QUIET)


def _draw_panel(figure: Any, panel: Panel, shown: Scene, frame: Framing) -> None:
    height, width = panel.shape
    see = from_above if panel.above else in_perspective
    points = see(shown.positions, frame, panel.shape)
    image = draw(points, shown.paint(panel.by), rgb("#151a21"))
    axes = figure.add_axes(_box(figure, panel.left, panel.top, width, height))
    # Exactly one image pixel a picture pixel, so the colours stay those of the legend.
    axes.imshow(image, interpolation="none", extent=(0, width, height, 0), aspect="auto")
    axes.set_axis_off()
    _write(figure, panel.left, panel.top - 9, panel.caption, size=11, color=QUIET)
    if not len(shown):
        place = {"ha": "center", "va": "center", "color": QUIET, "fontsize": 13}
        axes.text(width / 2, height / 2, "This cloud has no points.", **place)
    elif panel.above:
        _scale_bar(axes, panel.shape, min(panel.shape) / 2 / frame.radius)


def _scale_bar(axes: Any, shape: tuple[int, int], pixels_per_metre: float) -> None:
    wanted = shape[1] / 5 / pixels_per_metre
    power = 10.0 ** np.floor(np.log10(wanted))
    metres = next(step * power for step in (5, 2, 1) if step * power <= wanted)
    y = shape[0] - 16
    axes.plot([16, 16 + metres * pixels_per_metre], [y, y], color=TEXT, linewidth=2)
    axes.text(16, y - 8, f"{metres:g} m", color=TEXT, fontsize=9)


def _draw_legend(figure: Any, shown: Scene) -> None:
    left, top = MARGIN + WIDE + MARGIN, HEAD + CAPTION
    room = round(figure.get_figheight() * DPI) - top - MARGIN
    if shown.labels is None:
        _height_bar(figure, left, top, shown)
        return
    groups = [("Predicted class", legend(shown, "class"))]
    if shown.truth is not None:
        groups.append(("Errors", legend(shown, "verdict")))
    lines = sum(len(entries) + 2 for _, entries in groups)
    step = min(30.0, room / max(lines, 1))
    y = float(top)
    for caption, entries in groups:
        _write(figure, left, y - 9, caption, size=11, color=QUIET)
        for entry in entries:
            _legend_row(figure, left, y, step, entry)
            y += step
        y += 2 * step


def _legend_row(figure: Any, left: float, y: float, step: float, entry: Entry) -> None:
    edge, size = min(14.0, 0.6 * step), min(11.0, 0.45 * step)
    middle = y + step / 2
    _fill(figure, (left, middle - edge / 2, edge, edge), entry.color)
    ink = TEXT if entry.count else QUIET
    name = entry.name if len(entry.name) <= 22 else entry.name[:21] + "…"
    _write(figure, left + 24, middle + size / 2, name, size=size, color=ink)
    share = f"{entry.share:.1%}" if entry.share >= 0.001 else "< 0.1%" if entry.count else "none"
    _write(figure, left + LEGEND, middle + size / 2, share, size=size, color=QUIET, ha="right")


def _height_bar(figure: Any, left: int, top: int, shown: Scene) -> None:
    _write(figure, left, top - 9, "Height", size=11, color=QUIET)
    low, high = shown.height_range
    axes = figure.add_axes(_box(figure, left, top + 6, 16, 320))
    stops = np.stack([rgb(color) for color in reversed(RAMP)])[:, None]
    axes.imshow(stops, interpolation="bilinear", aspect="auto")
    axes.set_axis_off()
    _write(figure, left + 28, top + 18, f"{high:.1f} m and above", size=11)
    _write(figure, left + 28, top + 326, f"{low:.1f} m and below", size=11)


def _box(figure: Any, left: float, top: float, width: float, height: float) -> tuple:
    """The same rectangle in the shares of the figure that matplotlib counts from below."""
    across, down = figure.get_figwidth() * DPI, figure.get_figheight() * DPI
    return left / across, 1 - (top + height) / down, width / across, height / down


def _fill(figure: Any, box: tuple[float, float, float, float], color: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    left, bottom, width, height = _box(figure, *box)
    style = {"facecolor": color / 255, "linewidth": 0, "transform": figure.transFigure}
    figure.add_artist(Rectangle((left, bottom), width, height, **style))


def _write(figure: Any, left: float, baseline: float, words: str, **style: Any) -> None:
    x, y, _, _ = _box(figure, left, baseline, 0, 0)
    # Names of files and classes are words, whatever dollar signs they hold.
    figure.text(x, y, " ".join(words.split()), **{"color": TEXT, **style}, parse_math=False)
