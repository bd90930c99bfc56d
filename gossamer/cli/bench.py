"""`gossamer bench`: this machine's figures, beside those of every other library installed."""

import logging
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperCommand

from gossamer.bench.cases import CASES
from gossamer.bench.plan import Plan
from gossamer.bench.plot import check_plot, save_plot
from gossamer.bench.report import check_writable, show, write_json
from gossamer.bench.results import Results
from gossamer.bench.run import measure

group = typer.Typer(no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Measure gossamer beside every other library that is installed."""


class SeveralValues(TyperCommand):
    """A command that takes `--channels 16 32` for `--channels 16 --channels 32`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words left over after the options were taken."""
        several = {
            name
            for option in self.params
            if getattr(option, "multiple", False)
            for name in option.opts
        }
        spread: list[str] = []
        current = ""
        for word in args:
            if word.startswith("-") and not word[1:2].isdigit():
                current = word if word in several else ""
            elif current and spread[-1] != current:
                spread.append(current)
            spread.append(word)
        return super().parse_args(ctx, spread)


@group.command("cpu", cls=SeveralValues)
def command(
    scan: Annotated[
        Path | None, typer.Option(help="A file with a scan. Default: a simulated one.")
    ] = None,
    voxel_size: Annotated[
        tuple[float, float, float], typer.Option(metavar="A B C", help="Metres along x, y, z.")
    ] = Plan.voxel_size,
    channels: Annotated[
        list[int] | None, typer.Option(metavar="C …", help="Of the layers. Default: 16 32 64 128")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(metavar="T …", help="Each is measured. Default: 1 2")
    ] = None,
    cases: Annotated[
        list[str] | None, typer.Option(metavar="CASE …", help=f"Default: {', '.join(CASES)}")
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often everyone runs, at least 7.")] = Plan.rounds,
    json: Annotated[Path | None, typer.Option(help="Write the results to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture of them, a .png.")] = None,
) -> None:
    """Measure gossamer's CPU kernels and networks beside every peer that is installed.

    Peers: spconv (one thread; more than one gives wrong results, which is said), plain torch by
    gathering and multiplying, and torch's dense convolution where the grid fits into memory. All
    get the same voxels in the same order, in key order and shuffled, and take turns in one process.
    Before anything is timed, all results are checked against one another.
    """
    given = {"channels": channels, "threads": threads, "cases": cases}
    several = {name: tuple(values) for name, values in given.items() if values}
    plan = Plan(scan=scan, voxel_size=voxel_size, rounds=rounds, **several)
    for path in (json, plot):
        if path is not None:
            check_writable(path)
    if plot is not None:
        check_plot(plot)
    results = _measured(plan)
    show(Console(), results)
    if json is not None:
        write_json(json, results)
    if plot is not None:
        save_plot(plot, results)


def _measured(plan: Plan) -> Results:
    """The results of a plan, with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    errors = Console(stderr=True)
    with (
        warnings.catch_warnings(),
        Progress(*columns, TimeElapsedColumn(), console=errors, transient=True) as progress,
    ):
        # That a peer uses torch in an outdated way is no news to whoever measures.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.fx").setLevel(logging.ERROR)
        task = progress.add_task("reading the scan", total=None)
        return measure(
            plan,
            lambda what, done, total: progress.update(
                task, description=what, completed=done, total=total
            ),
        )
