"""Results for people and for programs: a table on the terminal, and a JSON file."""

import json
import os
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


def check_writable(path: Path) -> None:
    """Nothing, when it looks as if a file can appear at `path`: to be asked before long work.

    Raises:
        OSError: it can't.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"cannot write {path}; wanted a file in a folder that can be written")


def show(console: Console, results: Results) -> None:
    """A table a case and kind: the times of gossamer, and every peer's as a multiple of them."""
    machine = results.machine
    size = " x ".join(f"{edge:g}" for edge in machine["voxel_size_m"])  # type: ignore[union-attr]
    console.print(f"{machine['scan']} at {size} m on {machine['cpu']}, {machine['cores']} cores")
    console.print(
        f"Medians of {machine['rounds']} rounds, ms. T: threads. share: of the GFLOP/s of a "
        "float32 matrix product. 3.0x: the peer took three times as long."
    )
    for (case, kind), group in groupby(results.rows, key=lambda row: (row.case, row.kind)):
        console.print()
        console.print(_table(f"{case}, {kind}", list(group)))
    console.print()
    for note in results.notes:
        console.print(f"[dim]{note}[/dim]", highlight=False)


def _table(title: str, rows: list[Row]) -> Table:
    sites = ", ".join(f"{n} voxels" for n in dict.fromkeys(row.voxels for row in rows))
    table = Table(title=f"{title}, {sites}", title_justify="left", title_style="bold", box=None)
    table.padding = (0, 1, 0, 0)
    for heading in ("C", "rows", "T", "ours", "GF/s", "share"):
        table.add_column(heading, justify="left" if heading == "rows" else "right")
    named = [(row, _column(row.peer, rows)) for row in rows]
    columns = _side_by_side([name for _, name in named if name])
    for column in columns:
        table.add_column(column, justify="right", min_width=11, max_width=11)
    for _, group in groupby(named, key=lambda pair: (*_problem(pair[0]), pair[0].threads)):
        same = list(group)
        beside = {name: row for row, name in same}
        table.add_row(*_ours(same[0][0]), *(_theirs(beside.get(name)) for name in columns))
    return table


def _side_by_side(columns: list[str]) -> list[str]:
    """Each heading once, those of one library next to one another."""
    libraries = [column.split(", ")[0] for column in columns]
    return sorted(dict.fromkeys(columns), key=lambda name: libraries.index(name.split(", ")[0]))


def _problem(row: Row) -> tuple[int, str]:
    return row.channels, row.order


def _column(peer: str | None, rows: list[Row]) -> str:
    """The heading of a peer; its threads belong to it where they are not always as many as ours."""
    if peer is None:
        return ""
    name, threads = peer.split(", ", 1)
    beside = {(row.peer, row.threads) for row in rows if (row.peer or "").startswith(name)}
    always = all((label or "").endswith(_threads(count)) for label, count in beside)
    return name if always else f"{name}, {threads}"


def _threads(count: int) -> str:
    return f", {count} thread{'s' * (count > 1)}"


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
