"""`gossamer check-dropin`: what a code base uses of other libraries, and what of it we have."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gossamer.cli.apis import APIS
from gossamer.cli.report import write_json
from gossamer.compat.dropin import Finding, Report, Status, scan
from gossamer.compat.dropin.coverage import LIBRARY_OF
from gossamer.compat.install import FACADES

COLOURS = {
    Status.COVERED: "green",
    Status.GUARDED: "yellow",
    Status.MISSING: "bold red",
}
LIBRARIES = tuple(dict.fromkeys(LIBRARY_OF.values()))
WIDEST = 72


def command(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A script, a notebook, or a folder with code.")
    ],
    libraries: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="LIBRARY", help=f"Only these: {', '.join(LIBRARIES)}."),
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help=f"{APIS}. Default: the one that lacks least."),
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Leave the lines out that are covered.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all of it to this file.")] = None,
) -> None:
    """Say which of another library's names a code base uses, and whether gossamer has them.

    Reads every .py file and notebook, runs none of them, and follows imports, aliases (also from
    file to file), attributes and getattr. A line each, with one of three answers:

    [green]covered[/green]      the facade has it
    [yellow]guarded[/yellow]      it has not, but the program catches that, or asks first
    [bold red]not covered[/bold red]  the program will stop there

    A library of which there are two versions is held against the one that lacks least: code for
    spconv 1.x, which takes SparseConv3d from spconv itself, against api 1.2.
    Not looked at: attributes and methods of values, such as those of a SparseConvTensor.

    The exit code is 0 if nothing is missing, 1 if something is, 2 if there was nothing to read.
    """
    if unknown := set(libraries or ()) - set(LIBRARIES):
        raise ValueError(f"--as is {', '.join(sorted(unknown))}; wanted {', '.join(LIBRARIES)}")
    report = _scanned(path, api)
    wanted = libraries or LIBRARIES
    report = replace(report, findings=[f for f in report.findings if f.library in wanted])
    console = Console()
    _show_lines(console, report, missing)
    _show_summary(console, report)
    _show_next(console, report, path)
    if json is not None:
        write_json(json, _as_json(report, path))
    raise typer.Exit(2 if not report.files else 0 if report.covered else 1)


def _scanned(path: Path, api: str | None) -> Report:
    """The report, with a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    errors = Console(stderr=True)
    bar = Progress(*columns, TimeElapsedColumn(), console=errors, transient=True)
    bar.disable = not errors.is_terminal
    with bar as progress:
        task = progress.add_task("reading", total=None)
        return scan(
            path, api, lambda done, total: progress.update(task, completed=done, total=total)
        )


def _show_lines(console: Console, report: Report, only_missing: bool) -> None:
    shown = [f for f in report.findings if f.status != Status.COVERED or not only_missing]
    where = min(WIDEST, max((len(_where(finding)) for finding in shown), default=0))
    what = min(WIDEST, max((len(finding.symbol) for finding in shown), default=0))
    for finding in shown:
        colour = COLOURS[finding.status]
        hint = f"  {finding.hint}" if finding.hint else ""
        _say(
            console,
            f"[dim]{escape(_where(finding)):<{where}}[/dim]  {escape(finding.symbol):<{what}}  "
            f"[{colour}]{finding.status.value}[/]{hint}",
        )
    for file, reason in report.skipped:
        _say(console, f"{escape(str(file))}  [yellow]skipped[/yellow]: {escape(reason)}")
    if shown or report.skipped:
        console.print()


def _where(finding: Finding) -> str:
    return f"{finding.file}:{finding.place}"


def _show_summary(console: Console, report: Report) -> None:
    skipped = f", {_count(len(report.skipped), 'file')} skipped" if report.skipped else ""
    _say(console, f"{_count(report.files, 'file')} read{skipped}")
    for library in LIBRARIES:
        findings = [f for f in report.findings if f.library == library]
        if not findings:
            continue
        api = f" (api {report.apis[library]})" if library in report.apis else ""
        files = len({f.file for f in findings})
        names = _count(len({f.symbol for f in findings}), "name")
        uses = f"{_count(len(findings), 'use')} in {_count(files, 'file')}"
        _say(console, f"[bold]{library}[/bold]{api}: {names}, {uses}: {_tally(findings)}")
        if names := sorted({f.symbol for f in findings if f.status == Status.MISSING}):
            listed, colour = escape(", ".join(names)), COLOURS[Status.MISSING]
            _say(console, f"  [{colour}]{Status.MISSING.value}[/]: {listed}")


def _tally(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.status for finding in findings)
    told = [
        f"[{COLOURS[status]}]{counts[status]} {status.value}[/]"
        for status in Status
        if counts[status]
    ]
    return ", ".join(told)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _show_next(console: Console, report: Report, path: Path) -> None:
    if not report.findings:
        if report.files:
            _say(console, f"no name of {', '.join(LIBRARIES)} in them")
        return
    used = sorted({f.library for f in report.findings if f.library in report.apis})
    why = "next"
    if any(f.status == Status.MISSING for f in report.findings):
        pages = ", ".join(f"docs/{library}.md" for library in used)
        _say(console, f"what there is, and what to use instead: {pages}")
        why = "to see how far it gets"
    if used:
        options = " ".join(f"--as {library}{_api_option(report, library)}" for library in used)
        program = path if path.suffix == ".py" else "PROGRAM"
        _say(console, f"{why}: [cyan]{escape(f'gossamer run {options} {program}')}[/cyan]")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def _api_option(report: Report, library: str) -> str:
    api = report.apis[library]
    return "" if api == next(iter(FACADES[library])) else f" --api {api}"


def _as_json(report: Report, path: Path) -> dict[str, Any]:
    counts = Counter(finding.status.value for finding in report.findings)
    return {
        "path": str(path),
        "apis": dict(report.apis),
        "files": report.files,
        "covered": report.covered,
        "counts": {status.value: counts[status.value] for status in Status},
        "skipped": [{"file": str(file), "reason": reason} for file, reason in report.skipped],
        "symbols": [
            {
                "file": str(f.file),
                "line": int(f.place) if f.place.isdigit() else f.place,
                "symbol": f.symbol,
                "library": f.library,
                "status": f.status.value,
                "hint": f.hint,
            }
            for f in report.findings
        ],
    }
