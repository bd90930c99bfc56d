"""`gossamer eval`: how good a trained network is on labelled scans."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gossamer.cli import report
from gossamer.datasets import open_data
from gossamer.training import Trained, aligned, evaluate


def command(
    data: Annotated[str, typer.Option(help="As gossamer train takes it.")],
    checkpoint: Annotated[Path, typer.Option(help="Folder or file of the network.")],
    out: Annotated[Path | None, typer.Option(help="JSON file for the scores.")] = None,
) -> None:
    """Score a network on the scans of a data set that gossamer train holds out.

    Classes are told apart by their numbers in the files; points of a class that the network does
    not know do not count.
    """
    console = Console()
    trained = Trained.load(checkpoint)
    labelled = open_data(data)
    scans = aligned(labelled, trained)
    console.print(*map(escape, labelled.split), sep="\n", highlight=False)
    with report.watching(console) as watch:
        confusion = evaluate(trained, scans, report.as_stage(watch, "scoring"))
    report.show_scores(console, confusion, trained.classes)
    if out is not None:
        report.write_json(out, report.scores(confusion, trained.classes))
