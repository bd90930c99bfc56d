"""`gossamer doctor`: what works on this machine, and why anything does not."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gossamer import doctor
from gossamer.ops.dispatch import explain_backends


def command(
    warm: Annotated[
        bool, typer.Option("--warm", help="Compile every kernel now and keep it on disk.")
    ] = False,
) -> None:
    """Say what this machine has: versions, devices, backends, compiled kernels.

    A backend that refuses to run says why. Numba compiles a kernel at its first call and keeps it
    on disk; [cyan]--warm[/cyan] does that for all of them, so that no later run waits.
    """
    console = Console()
    if warm:
        _warm(console)
    _show(console, "Versions", list(doctor.versions().items()))
    _show(console, "Extras", [_extra(extra) for extra in doctor.extras()])
    _show(console, "Devices", _devices())
    _show(console, "Backends", _backends())
    cache = doctor.kernel_cache()
    count = f"{cache.files} files, {cache.size / 1e6:.1f} MB"
    _show(console, "Compiled kernels", [("folder", str(cache.folder)), ("size", count)])


def _warm(console: Console) -> None:
    from gossamer.ops.warm import warm

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("compiling", total=None)
        warm(
            lambda name, done, total: progress.update(
                task, description=f"compiling {name}", completed=done, total=total
            )
        )
        progress.update(task, description="compiled")


def _extra(extra: doctor.Extra) -> tuple[str, str]:
    missing = f"[dim]not installed: pip install 'gossamer\\[{extra.extra}]'[/dim]"
    return extra.package, extra.version or missing


def _devices() -> list[tuple[str, str]]:
    cpu = doctor.processor()
    vectors = f"{cpu.vector_bits}-bit vectors ({cpu.llvm_name})"
    threads = f"{cpu.cores} cores, {cpu.threads} threads"
    gpus = doctor.gpus() or ["[dim]none that this build of torch can use[/dim]"]
    return [("cpu", f"{cpu.model}, {vectors}, {threads}"), *(("gpu", line) for line in gpus)]


def _backends() -> list[tuple[str, str]]:
    """A line a family, with what runs, and below it why the rest does not."""
    rows = []
    for family, reasons in explain_backends().items():
        runs = [name for name, reason in reasons.items() if not reason]
        rows.append((family, f"[green]{', '.join(runs)}[/green]" if runs else "[red]none[/red]"))
        rows += [
            ("", f"[dim]not {name}: {escape(reason)}[/dim]")
            for name, reason in reasons.items()
            if reason
        ]
    return rows


def _show(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.show_header = False
    table.add_column(min_width=18)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()
