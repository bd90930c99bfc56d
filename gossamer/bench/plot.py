"""Results as one picture: how many times as fast as the strongest peer, and how near the limit."""

from pathlib import Path
from typing import Any

from gossamer.bench.cases import LAYER_CASES
from gossamer.bench.results import Results, Row
from gossamer.io.atomic import written_beside

COLOURS = {"submanifold": "#0a8cfa", "strided": "#be500a"}
STYLES = {"sorted": "-", "shuffled": "--"}
QUIET = "#6b7480"
MOSAIC = """
    012
    342
"""


def check_plot(path: Path) -> None:
    """Nothing, when a picture can be written to `path`: to be asked before long work.

    Raises:
        ValueError: it is not called .png.
        ImportError: matplotlib is not installed.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"plot is {path}; wanted a file called .png")
    _matplotlib()


def save_plot(path: Path, results: Results) -> None:
    """Write the picture: layers by channels, shares of the limit, rulebooks and whole networks.

    All of gossamer at its fewest threads beside the first peer that was measured.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    Figure, Canvas = _matplotlib()
    figure = Figure(figsize=(13, 7), dpi=110, layout="constrained")
    Canvas(figure)
    rows = _beside_first_peer(results.rows)
    peer = next((row.peer for row in rows if row.peer), "no peer")
    panels = figure.subplot_mosaic(MOSAIC, width_ratios=(1, 1, 1.2))
    for place, case in enumerate(LAYER_CASES):
        layers = [row for row in rows if row.case == case]
        ratio, share = panels[str(place)], panels[str(place + 3)]
        _lines(ratio, layers, "ratio", f"{case}: times as fast")
        ratio.axhline(1, color=QUIET, linewidth=1)
        _lines(share, layers, "share", f"{case}: share of sgemm")
        share.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        share.set_xlabel("channels in and out")
    _bars(panels["2"], [row for row in rows if row.case not in LAYER_CASES])
    labelled = panels["0"].get_legend_handles_labels()
    figure.legend(*labelled, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(_title(results, rows, peer), fontsize=11)
    with written_beside(path) as unfinished:
        figure.savefig(unfinished)


def _title(results: Results, rows: list[Row], peer: str) -> str:
    machine = results.machine
    edges = " x ".join(f"{edge:g}" for edge in machine["voxel_size_m"])  # type: ignore[union-attr]
    threads = min((row.threads for row in rows), default=0)
    return (
        f"gossamer, {threads} thread{'s' * (threads != 1)}, beside {peer}: "
        f"{machine['scan']} at {edges} m on {machine['cpu']}"
    )


def _matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install gossamer[viz]") from error
    return Figure, FigureCanvasAgg


def _beside_first_peer(rows: list[Row]) -> list[Row]:
    """Of every problem the row at the fewest threads beside the first peer."""
    first: dict[tuple, Row] = {}
    for row in sorted(rows, key=lambda row: row.threads):
        first.setdefault((row.case, row.kind, row.channels, row.order), row)
    return list(first.values())


def _lines(axes: Any, rows: list[Row], field: str, title: str) -> None:
    """A line a kind and order over the channels."""
    for kind, order in dict.fromkeys((row.kind, row.order) for row in rows):
        line = [row for row in rows if (row.kind, row.order) == (kind, order)]
        points = [(r.channels, getattr(r, field)) for r in line if getattr(r, field) is not None]
        if points:
            style = {"color": COLOURS[kind], "linestyle": STYLES[order], "marker": "o"}
            label = f"{kind}, {order} rows"
            axes.plot(*zip(*sorted(points), strict=True), label=label, **style)
    widths = sorted({row.channels for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths], minor=False)
    axes.set_title(title, fontsize=10)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)


def _bars(axes: Any, rows: list[Row]) -> None:
    """A bar a rulebook and a network, with its time."""
    rows = [row for row in rows if row.ratio is not None]
    names = [f"{row.kind}, {row.case}\n{row.order} rows" for row in rows]
    shades = [QUIET if row.order == "shuffled" else COLOURS["submanifold"] for row in rows]
    bars = axes.barh(names, [row.ratio for row in rows], color=shades)
    labels = [
        f" {row.ratio:.1f}x, {row.ours_ms:.{1 if row.ours_ms < 100 else 0}f} ms" for row in rows
    ]
    axes.bar_label(bars, labels=labels, fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.axvline(1, color=QUIET, linewidth=1)
    axes.set_title("rulebooks and whole networks: times as fast", fontsize=10)
