"""`gossamer convert`: a checkpoint of one library as another library's."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gossamer.cli.report import write_json
from gossamer.convert import FileReport, Options, Report, Request, convert_file
from gossamer.convert.names import SCHEMES
from gossamer.convert.options import module_of
from gossamer.convert.report import Changed

WIDTH = 160  # of a table in a file, where nobody wraps lines


def _patterns(help: str) -> typer.models.OptionInfo:
    return typer.Option(metavar="PATTERN", help=help)


Patterns = list[str] | None
Checkpoint = Annotated[
    Path, typer.Argument(metavar="CKPT", help="A .pth, .pt or .safetensors file.")
]
Target = Annotated[str, typer.Option("--to", metavar="FORMAT", help="The format to write.")]
Source = Annotated[
    str | None,
    typer.Option("--from", metavar="FORMAT", help="The format it has. Default: detected."),
]
Out = Annotated[Path | None, typer.Option(help="The file to write: .pth, .pt or .safetensors.")]
Kernel = Annotated[
    Patterns,
    typer.Option(metavar="PATTERN=AxBxC", help="Taps an axis of kernels that are no cubes."),
]
Ndim = Annotated[int, typer.Option(help="Axes of a kernel where its weight does not say.")]
Only = Annotated[Patterns, _patterns("The weights of sparse convolutions are among these.")]
Skip = Annotated[Patterns, _patterns("Leave these as they are.")]
Strided = Annotated[Patterns, _patterns("Layers of one tap with a stride, groups, or an inverse.")]
Norms = Annotated[Patterns, _patterns("Batch norms that MinkowskiEngine wraps.")]
Drop = Annotated[Patterns, _patterns("Leave out.")]
Names = Annotated[
    str, typer.Option(help=f"Names of MinkUNet's modules: auto, keep, {', '.join(SCHEMES)}.")
]
Json = Annotated[Path | None, typer.Option(help="Write the report to this file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Let a pickle run code: only if you trust its author.")
]


def command(
    checkpoint: Checkpoint,
    target: Target,
    source: Source = None,
    out: Out = None,
    kernel: Kernel = None,
    ndim: Ndim = 3,
    only: Only = None,
    skip: Skip = None,
    strided: Strided = None,
    norms: Norms = None,
    drop: Drop = None,
    names: Names = "auto",
    json: Json = None,
    dry_run: DryRun = False,
    unsafe: Unsafe = False,
) -> None:
    """Write a checkpoint of one library as another library would have written it.

    A FORMAT is native, spconv1 (also mmcv's), spconv2, torchsparse (2.1),
    torchsparse14, minkowski or mmdet3d.

    Weights of sparse convolutions are renamed and laid out anew; so are their
    biases, norms and what an optimizer keeps of them, where that differs.
    Numbers are moved and never computed with: the report ends with the command
    that leads back. MinkUNet's modules get the names of the other code base.

    PATTERN has * and ? and is held against keys, such as net.conv1.weight, and
    against modules, such as net.conv1.

    [bold]For example[/bold]

    [cyan]gossamer convert second.pth --to torchsparse --dry-run[/cyan]

    [cyan]gossamer convert spvnas.pt --to native --drop '*point_transforms*' --out unet.pth[/cyan]

    [cyan]gossamer convert net.pth --to spconv2 --kernel '*conv_out=3x1x1' --out spconv.pth[/cyan]

    [cyan]gossamer convert bevfusion.pth --only '*lidar*' --to torchsparse --out fast.pth[/cyan]
    """
    only_, skip_, strided_, drop_ = (tuple(given or ()) for given in (only, skip, strided, drop))
    kernels, wrapped = tuple(map(_kernel, kernel or ())), tuple(norms or ()) or None
    options = Options(kernels, ndim, only_, skip_, strided_, drop_, wrapped, names)
    _check_files(out, json, dry_run)
    _run(Request(checkpoint, source, target, out, options, unsafe), json, dry_run)


def _check_files(out: Path | None, json: Path | None, dry_run: bool) -> None:
    if out is None and not dry_run:
        raise ValueError("--out is missing; say which file to write, or --dry-run to write none")
    if json is not None and out is not None and json.resolve() == out.resolve():
        raise ValueError(f"--json and --out are both {out}; choose two files")


def _run(request: Request, json: Path | None, dry_run: bool) -> None:
    """Convert, and show what was done."""
    written = None if dry_run else request.out
    done = convert_file(replace(request, out=written))
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    for where, report in done.states.items():
        _show(console, where, report)
    for note in done.notes:
        _say(console, f"[yellow]{escape(note)}[/yellow]")
    _show_end(console, done, written)
    if json is not None:
        write_json(json, _as_json(done, request.checkpoint, written))


def _kernel(text: str) -> tuple[str, tuple[int, ...]]:
    pattern, _, size = text.rpartition("=")
    try:
        taps = tuple(int(part) for part in size.split("x"))
    except ValueError:
        taps = ()
    if not pattern or not taps:
        raise ValueError(f"--kernel is {text!r}; wanted PATTERN=AxBxC, for instance conv_out=3x1x1")
    return pattern, taps


def _show(console: Console, where: str, report: Report) -> None:
    table = Table(
        title=f"{where}: {report.source} to {report.target}", title_justify="left", box=None
    )
    for heading in ("entry", "becomes", "was", "is", "how"):
        table.add_column(heading, overflow="fold")
    for change in report.changed:
        table.add_row(
            escape(change.key),
            _becomes(change),
            _box(change.shape),
            _box(change.to_shape),
            change.what,
        )
    console.print(table)
    console.print()
    _say(console, f"{len(report.changed)} entries changed, {report.kept} as they were")
    if report.left:
        _say(console, "weights left alone:")
    for why in dict.fromkeys(why for _, why in report.left):
        keys = [key for key, reason in report.left if reason == why]
        _say(console, f"  {escape(why)}: {escape(_few(keys))}")
    for note in report.notes:
        _say(console, f"[yellow]{escape(note)}[/yellow]")


def _becomes(change: Changed) -> str:
    """The new key, short where only its last word is new."""
    if change.to is None:
        return "[red]nothing[/red]"
    if module_of(change.to) != module_of(change.key):
        return escape(change.to)
    return f"[dim]…[/dim].{escape(change.to.rpartition('.')[2])}"


def _box(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _few(keys: list[str], shown: int = 8) -> str:
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + more


def _show_end(console: Console, done: FileReport, out: Path | None) -> None:
    if out is None:
        _say(console, "nothing is written")
        return
    _say(console, f"written: [bold]{escape(str(out))}[/bold]")
    report = next(iter(done.states.values()))
    _say(console, f"the way back: [cyan]{escape(_way_back(report, out))}[/cyan]")


def _way_back(report: Report, out: Path) -> str:
    back, options = report.back, report.back.options
    words = ["gossamer", "convert", str(out), "--from", back.source, "--to", back.target]
    for pattern, size in options.kernels:
        words += ["--kernel", f"{pattern}={'x'.join(map(str, size))}"]
    for name in ("only", "skip", "strided", "norms"):
        for pattern in getattr(options, name) or ():
            words += [f"--{name}", pattern]
    words += [] if options.ndim == 3 else ["--ndim", str(options.ndim)]
    words += [] if options.names == "auto" else ["--names", options.names]
    return shlex.join([*words, "--out", "FILE"])


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def _as_json(done: FileReport, checkpoint: Path, out: Path | None) -> dict[str, Any]:
    return {
        "checkpoint": str(checkpoint),
        "written": None if out is None else str(out),
        "states": {where: report.as_json() for where, report in done.states.items()},
        "notes": list(done.notes),
    }
