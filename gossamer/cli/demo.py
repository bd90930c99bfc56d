"""`gossamer demo`: from nothing to a trained network and a coloured scan, in a few minutes."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from gossamer import io
from gossamer.cli import report
from gossamer.datasets import Data, missing, synthetic
from gossamer.point_cloud import PointCloud
from gossamer.training import Run, Trained, checkpoint, evaluate, predict, recipes, resume

TRAIN, HELD_OUT = 150, 10  # scans


def command(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/demo"),
    scan: Annotated[
        Path | None, typer.Option(help="A scan of yours to colour: .bin .npz .ply .pcd .las")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="How often the training scans are seen.")
    ] = None,
    scans: Annotated[int, typer.Option(min=1, help="How many streets to learn from.")] = TRAIN,
    held_out: Annotated[int, typer.Option(min=1, help="How many to be judged by.")] = HELD_OUT,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another network.")] = 0,
) -> None:
    """Train a sparse U-Net on simulated LiDAR scans, score it on others, and look at one.

    Takes a few minutes on two cores. The folder then holds metrics.json, checkpoint.safetensors,
    prediction.png, and prediction.html to turn and zoom; for [cyan]--scan[/cyan] two pictures more.
    """
    console, began = Console(), perf_counter()
    real = None if scan is None else io.read(scan, labels=False)
    report.claim(out)
    data = synthetic(scans, held_out)
    recipe = recipes.demo(data)
    run = Run(replace(recipe, epochs=epochs or recipe.epochs, seed=seed), data, out)
    console.print(*data.split, sep="\n")
    with report.watching(console) as watch:
        trained = run.train(watch)
    (out / resume.FILE).unlink(missing_ok=True)
    confusion = evaluate(trained, data.validation)
    report.write_json(out / "metrics.json", report.metrics(run, confusion))
    files = [out / "metrics.json", out / checkpoint.FILE, *_show_held_out(trained, data, out)]
    if scan is not None and real is not None:
        files += _show_real(console, trained, real, scan, out)
    report.show_scores(console, confusion, trained.classes)
    console.print(f"\n{perf_counter() - began:.0f} s in all. Look at")
    for file in files:
        console.print(f"  [cyan]{file}[/cyan]", soft_wrap=True)


def _show_held_out(trained: Trained, data: Data, out: Path) -> list[Path]:
    cloud = data.validation[0]
    predicted = predict(trained, cloud)
    return report.draw(out / "prediction", cloud, predicted, trained.classes, cloud.labels)


def _show_real(
    console: Console, trained: Trained, cloud: PointCloud, scan: Path, out: Path
) -> list[Path]:
    for channel in missing(cloud, trained.recipe.channels):
        console.print(f"[yellow]{scan.name} has no {channel}; the network does without it")
    predicted = predict(trained, cloud)
    return report.draw(out / report.name_of(scan), cloud, predicted, trained.classes, None)
