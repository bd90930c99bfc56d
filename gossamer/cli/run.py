"""`gossamer run`: an unedited program, for which gossamer stands in for another library."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import gossamer.compat
from gossamer.cli.apis import APIS
from gossamer.compat.install import FACADES, known_api, library_with

STARTUP = Path(gossamer.compat.__file__).resolve().parent / "startup"


def command(
    libraries: Annotated[
        list[str],
        typer.Option("--as", metavar="LIBRARY", help=f"Stand in for it: {', '.join(FACADES)}."),
    ],
    program: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROGRAM",
            help="SCRIPT.py or -m MODULE, and its arguments, as python takes them.",
        ),
    ] = None,
    apis: Annotated[
        list[str] | None,
        typer.Option("--api", metavar="VERSION", help=f"{APIS}. Default: the newest."),
    ] = None,
) -> None:
    """Run an unedited program that was written for another library.

    `gossamer run --as spconv train.py --epochs 3` is `python train.py --epochs 3` in which
    [cyan]import spconv[/cyan] gives gossamer. Every word from the script on is the program's own,
    and so are its output, tracebacks and exit code.

    Processes that the program starts have the facade too, by environment variables: DataLoader and
    multiprocessing workers, subprocesses, and those of
    [cyan]gossamer run --as spconv -m torch.distributed.run train.py[/cyan].
    Not those started with another environment, or by python -I, -E or -S.

    To see beforehand what a program needs: [cyan]gossamer check-dropin PATH[/cyan]
    """
    environment = os.environ | {
        "GOSSAMER_RUN_AS": " ".join(_facades(libraries, apis or [])),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(STARTUP), os.environ.get("PYTHONPATH")])),
    }
    line = [sys.executable, *_checked(program or [])]
    # Elsewhere than on POSIX, exec returns to the shell before the program ends.
    if os.name != "posix":
        raise typer.Exit(subprocess.run(line, env=environment).returncode)
    os.execve(sys.executable, line, environment)


def _facades(libraries: Sequence[str], apis: Sequence[str]) -> list[str]:
    """A `library=api` for each library; an api belongs to the one library that has it."""
    chosen = {library: known_api(library) for library in libraries}
    for api in apis:
        owner = library_with(api)
        if owner not in chosen:
            raise ValueError(f"api is {api}, which is one of {owner}; add --as {owner}")
        chosen[owner] = api
    return [f"{library}={api}" for library, api in chosen.items()]


def _checked(program: Sequence[str]) -> Sequence[str]:
    """The words themselves, where Python has something to run in them."""
    if not program:
        raise ValueError("no program; wanted a script or a module, such as: train.py or -m train")
    first = program[0]
    if first.startswith("-m"):
        if list(program) == ["-m"]:
            raise ValueError("-m names no module; wanted: -m MODULE")
        return program
    if not Path(first).exists():
        raise FileNotFoundError(
            f"there is no {first} in {Path.cwd()}; wanted a script, or a module: -m MODULE"
        )
    if Path(first).is_dir() and not (Path(first) / "__main__.py").exists():
        raise ValueError(f"{first} is a folder without __main__.py; wanted a script")
    return program
