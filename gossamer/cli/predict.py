"""`gossamer predict`: the class of every point of your scans, as labels and as pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from torch import Tensor

from gossamer import io
from gossamer.cli import report
from gossamer.datasets import missing, relabelled
from gossamer.point_cloud import PointCloud
from gossamer.training import Trained, predict


def command(
    scans: Annotated[list[Path], typer.Argument(help="Files: .bin .npz .ply .pcd .las .laz")],
    checkpoint: Annotated[Path, typer.Option(help="Folder or file of the network.")],
    out: Annotated[Path, typer.Option(help="Folder for labels and pictures.")],
    unit: Annotated[
        float, typer.Option(help="Metres a unit of the files' coordinates: 0.3048 for feet.")
    ] = 1.0,
) -> None:
    """Give every point of scans a class.

    For each scan the folder then holds a picture, a page to turn and zoom, and the labels: a .label
    file for a .bin, and a file of the scan's own format for any other.
    """
    console = Console()
    if not 0 < unit < float("inf"):
        raise ValueError(f"unit is {unit}; wanted metres, above 0")
    trained = Trained.load(checkpoint)
    names = _names(scans)
    report.claim(out)
    if beside := next((scan for scan in scans if scan.parent.samefile(out)), None):
        raise ValueError(f"out is {out}, where {beside} lies; wanted a folder that holds no scan")
    for scan, name in zip(scans, names, strict=True):
        cloud = io.read(scan)
        for channel in missing(cloud, trained.recipe.channels):
            console.print(f"[yellow]{escape(scan.name)} has no {channel}; predicting without it")
        began = perf_counter()
        metres = replace(cloud, positions=cloud.positions * unit, labels=None, instances=None)
        predicted = predict(trained, metres)
        seconds = perf_counter() - began
        truth = _truth(trained, scan, cloud)
        files = [_write_labels(out / name, scan, cloud, _codes(trained, predicted))]
        files += report.draw(out / name, metres, predicted, trained.classes, truth)
        console.print(f"[bold]{escape(scan.name)}[/bold]: {len(cloud):,} points, {seconds:.1f} s")
        console.print("  " + _shares(trained, predicted))
        for file in files:
            console.print(f"  [cyan]{escape(str(file))}[/cyan]", soft_wrap=True)


def _names(scans: Sequence[Path]) -> list[str]:
    """A name for the files of each scan, the shortest that tells it from the others."""
    short = [report.name_of(scan) for scan in scans]
    names = [s if short.count(s) == 1 else scan.name for s, scan in zip(short, scans, strict=True)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(
            f"two scans are called {twice}; wanted different names; predict them into two folders"
        )
    return names


def _codes(trained: Trained, predicted: Tensor) -> Tensor:
    """[P] int64: the number of each point's class, 0 where there is none."""
    return torch.tensor([*trained.codes, 0])[predicted]


def _write_labels(path: Path, scan: Path, cloud: PointCloud, codes: Tensor) -> Path:
    labelled = replace(cloud, labels=codes, instances=None)
    suffix = ".label" if scan.suffix.lower() == ".bin" else scan.suffix
    file = path.with_name(path.name + suffix)
    if suffix == ".label":
        io.write_labels(file, labelled)
    else:
        io.write(file, labelled)
    return file


def _truth(trained: Trained, scan: Path, cloud: PointCloud) -> Tensor | None:
    """[P] the true classes, where the scan has labels by the same numbers as the network."""
    numbering = {".las": "ASPRS", ".laz": "ASPRS", ".bin": "SemanticKITTI"}
    if cloud.labels is None or numbering.get(scan.suffix.lower()) != trained.numbering:
        return None
    truth = relabelled(cloud, trained.codes).labels
    return truth if truth is not None and bool((truth >= 0).any()) else None


def _shares(trained: Trained, predicted: Tensor) -> str:
    counts = torch.bincount(predicted[predicted >= 0], minlength=len(trained.classes))
    order = counts.argsort(descending=True).tolist()
    total = max(1, len(predicted))
    told = [f"{trained.classes[i]} {int(counts[i]) / total:.0%}" for i in order if counts[i]]
    return ", ".join(told[:6])
