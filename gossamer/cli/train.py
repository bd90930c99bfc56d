"""`gossamer train`: a network for labelled scans of your own."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gossamer.cli import report
from gossamer.datasets import open_data
from gossamer.training import Run, evaluate, recipe_for, resume


def command(
    data: Annotated[
        str,
        typer.Option(
            help="synthetic, synthetic:N, a LAS or LAZ file with classes or a folder of them, or "
            "a SemanticKITTI folder."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the network, its score, and the state.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="Rounds through the data.")] = None,
    voxel_size: Annotated[float | None, typer.Option(help="Edge of a voxel, metres.")] = None,
    width: Annotated[float | None, typer.Option(help="Of MinkUNet; 1 is as published.")] = None,
    lr: Annotated[float | None, typer.Option(help="The highest learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Scans a step.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order, changes.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare batches.")] = 0,
    resume_: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.")
    ] = False,
) -> None:
    """Train a network on labelled scans, and score it on those that were held out.

    Settings that are not given are chosen for the data. The folder then holds
    checkpoint.safetensors, which [cyan]gossamer predict[/cyan] takes, and metrics.json; a run that
    was killed goes on with [cyan]--resume[/cyan] and ends with the same network.
    """
    console = Console()
    _claim(out, resume_)
    labelled = open_data(data)
    given = {"epochs": epochs, "voxel_size": voxel_size, "width": width, "learning_rate": lr}
    given |= {"batch_size": batch_size, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    run = Run(replace(recipe_for(labelled), **chosen), labelled, out, workers)
    console.print(*map(escape, labelled.split), sep="\n", highlight=False)
    if resume_:
        run.go_on()
        console.print(f"going on after step {run.step} of {run.steps}")
    with report.watching(console) as watch:
        trained = run.train(watch)
    confusion = evaluate(trained, labelled.validation)
    report.write_json(out / "metrics.json", report.metrics(run, confusion))
    report.show_scores(console, confusion, trained.classes)
    console.print(f"\n[cyan]gossamer predict SCAN --checkpoint {out} --out DIR[/cyan] uses it")


def _claim(out: Path, to_resume: bool) -> None:
    report.claim(out)
    if (out / resume.FILE).exists() and not to_resume:
        raise ValueError(
            f"out is {out}, which holds a run already; --resume goes on with it, another folder "
            "begins a new one"
        )
