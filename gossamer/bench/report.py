"""Results for people and for programs: a table on the terminal, and a JSON file."""

import json
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gossamer.bench.results import Results, Row
from gossamer.io.atomic import written_beside


def write_json(path: Path, results: Results) -> None:
    """Write `{"machine": …, "rows": […]}`; the file appears whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    with written_beside(path) as unfinished:
        unfinished.write_text(json.dumps(results.as_json(), indent=1) + "\n")


def show(console: Console, results: Results) -> None:
    """A table a case and kind: gossamer's times, and beside each peer's how many times ours it is."""
    machine = results.machine
    size = " x ".join(f"{edge:g}" for edge in machine["voxel_size_m"])  # type: ignore[union-attr]
    console.print(f"{machine['scan']} at {size} m on {machine['cpu']}, {machine['cores']} cores")
    console.print(
        f"Medians of {machine['rounds']} rounds in ms; 3.0x: the peer took three times ours."
    )
    for (case, kind), group in groupby(results.rows, key=lambda row: (row.case, row.kind)):
        console.print()
        console.print(_table(f"{case}, {kind}", list(group)))
    for note in results.notes:
        console.print(f"[dim]{note}[/dim]", highlight=False)


def _table(title: str, rows: list[Row]) -> Table:
    peers = list(dict.fromkeys(row.peer for row in rows if row.peer))
    sites = ", ".join(f"{n} voxels" for n in dict.fromkeys(row.voxels for row in rows))
    table = Table(title=f"{title}, {sites}", title_justify="left", title_style="bold", box=None)
    for heading in ("C", "rows", "threads", "ours", "GFLOP/s", "of sgemm"):
        table.add_column(heading, justify="left" if heading == "rows" else "right")
    for peer in peers:
        name, threads = peer.split(", ", 1)
        table.add_column(f"{name}\n{threads}", justify="right")
    for _, group in groupby(rows, key=lambda row: (row.channels, row.order, row.threads)):
        same = list(group)
        beside = {row.peer: row for row in same}
        table.add_row(*_ours(same[0]), *(_theirs(beside.get(peer)) for peer in peers))
    return table


def _ours(row: Row) -> tuple[str, ...]:
    rate = f"{row.gflops:.0f}" if row.gflops is not None else ""
    share = f"{row.share:.0%}" if row.share is not None else ""
    width = str(row.channels) if row.channels else ""
    where = (width, row.order, str(row.threads))
    return *where, f"[bold]{_milliseconds(row.ours_ms)}[/bold]", rate, share


def _theirs(row: Row | None) -> str:
    if row is None or row.peer_ms is None or row.ratio is None:
        return ""
    return f"{_milliseconds(row.peer_ms)} {row.ratio:5.1f}x"


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
