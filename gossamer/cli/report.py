"""What the verbs that train and predict share: progress, tables, and the files of a folder."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from torch import Tensor

from gossamer import training, view
from gossamer.io.atomic import written_beside
from gossamer.point_cloud import PointCloud
from gossamer.training import Confusion, Run, Watch
from gossamer.training.memory import peak_so_far


def claim(folder: Path) -> None:
    """Make a folder, and make sure that files can be written there.

    Raises:
        OSError: they can't.
    """
    with written_beside(folder / ".gossamer") as unfinished:
        unfinished.touch()
    (folder / ".gossamer").unlink()


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """A progress bar for each stage of a run; in a log, a line a tenth of it."""
    if not console.is_terminal:
        yield lambda progress: _tell(console, progress)
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def watch(progress: training.Progress) -> None:
            stage, total = progress.stage, progress.total
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note="")
            bars.update(tasks[stage], completed=progress.done, note=_loss(progress))

        yield watch


def _tell(console: Console, progress: training.Progress) -> None:
    tenth = -(-progress.total // 10)
    if not progress.done % tenth or progress.done == progress.total:
        console.print(f"{progress.stage} {progress.done}/{progress.total} {_loss(progress)}")


def _loss(progress: training.Progress) -> str:
    return "" if math.isnan(progress.loss) else f"loss {progress.loss:.3f}"


def as_stage(watch: Watch, stage: str) -> Callable[[int, int], None]:
    """A function of (done, total) that tells `watch` of one more stage."""
    return lambda done, total: watch(training.Progress(stage, done, total))


def name_of(scan: Path) -> str:
    """What the files made of a scan are called: its name without suffixes."""
    return scan.stem.removesuffix(".pcd")


def show_scores(console: Console, confusion: Confusion, classes: tuple[str, ...]) -> None:
    """A table: the intersection over union of each class, and their mean."""
    table = Table(title="Held-out scans", title_justify="left", title_style="bold", box=None)
    for heading, justify in (
        ("class", "left"),
        ("IoU", "right"),
        ("", "left"),
        ("points", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, iou, points in zip(
        classes, confusion.iou.tolist(), confusion.counts.sum(1).tolist(), strict=True
    ):
        known = not math.isnan(iou)
        bar = "█" * round(20 * iou) if known else "[dim]does not occur[/dim]"
        table.add_row(name, f"{100 * iou:.1f}" if known else "–", bar, f"{points:,}")
    table.add_section()
    table.add_row("[bold]mean", f"[bold]{100 * confusion.miou:.1f}", "", f"{confusion.points:,}")
    console.print(table)


def scores(confusion: Confusion, classes: tuple[str, ...]) -> dict[str, Any]:
    """The scores as JSON has them; null for a class that does not occur."""
    ious = [None if math.isnan(iou) else round(iou, 4) for iou in confusion.iou.tolist()]
    return {
        "miou": _number(confusion.miou),
        "accuracy": _number(confusion.accuracy),
        "per_class": dict(zip(classes, ious, strict=True)),
    }


def metrics(run: Run, confusion: Confusion) -> dict[str, Any]:
    """Everything worth knowing about a finished run, as JSON has it."""
    spent = run.spent
    return {
        **scores(confusion, run.trained.classes),
        "train_seconds": round(spent.seconds, 1),
        "train_cpu_seconds": round(spent.cpu_seconds, 1),
        "voxels": spent.voxels,
        "voxels_per_second": round(spent.voxels / max(spent.seconds, 1e-9)),
        "peak_memory_bytes": peak_so_far(),
        "steps": run.step,
        "config": asdict(run.recipe),
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file for people to read, whole or not at all."""
    with written_beside(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def draw(
    path: Path, cloud: PointCloud, labels: Tensor, classes: tuple[str, ...], truth: Tensor | None
) -> list[Path]:
    """Write `path`.png and `path`.html of a scan coloured by class, and say where they are."""
    picture, page = (path.with_name(path.name + suffix) for suffix in (".png", ".html"))
    view.save_png(picture, cloud, labels, classes, truth)
    view.save_html(page, cloud, labels, classes, truth)
    return [picture, page]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
