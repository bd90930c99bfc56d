"""The command `gossamer`: one verb a file, and only the verb that was asked for is imported."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from gossamer.errors import NoBackendError
from gossamer.version import __version__

# Verb -> what it does, and a line to try; in the order in which a newcomer meets them. A verb is
# the module gossamer.cli.<verb>, with _ for -, and in it a function `command` whose parameters are
# its options; where it says what to do with what, as `bench cpu` does, also the typer application
# `group`.
VERBS = {
    "demo": (
        "Train a sparse U-Net on simulated scans, score it, and look at what it sees.",
        "gossamer demo --scan SCAN",
    ),
    "train": (
        "Train on your labelled scans, or go on where a run was stopped.",
        "gossamer train --data FOLDER --out runs/mine",
    ),
    "eval": (
        "Score a trained network, class by class.",
        "gossamer eval --data FOLDER --checkpoint runs/mine",
    ),
    "predict": (
        "Label scans with a trained network, and draw them.",
        "gossamer predict SCAN --checkpoint runs/mine --out predictions",
    ),
    "explain": (
        "Show a sparse convolution step by step, or a scan's rulebooks in figures.",
        "gossamer explain --page explain.html",
    ),
    "bench": (
        "Measure this machine's kernels and networks beside those of other libraries.",
        "gossamer bench cpu --scan SCAN --channels 16 32 --json FILE",
    ),
    "run": (
        "Run an unedited program that was written for another library.",
        "gossamer run --as spconv train.py --epochs 3",
    ),
    "check-dropin": (
        "Say which of another library's names a code base uses, and whether gossamer has them.",
        "gossamer check-dropin FOLDER",
    ),
    "convert": (
        "Write a checkpoint of one library as another library's.",
        "gossamer convert CKPT --to spconv2 --out FILE",
    ),
    "doctor": (
        "Say what this machine has: versions, devices, backends, compiled kernels.",
        "gossamer doctor --warm",
    ),
}

ABOUT = (
    "Sparse convolution for PyTorch, on CPU and GPU: a scan becomes voxels, and a network computes "
    "only where there are some."
)

MORE = "Each command explains itself: [cyan]gossamer train --help[/cyan]"

# What a caller can cause, and every message of which says what to do about it.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, NoBackendError)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and leave the process with its exit code.

    The code is 0 after success and 2 after a mistake in what was asked, which is told in one line;
    `--debug` shows the traceback instead.

    Args:
        arguments: the words after `gossamer`. Default: those of this process.
    """
    # Before torch is loaded: on a machine that is busy with something else, threads that spin while
    # they wait for one another take the very cores that they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    words = list(sys.argv[1:] if arguments is None else arguments)
    words, program = _split(words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        _app(_verb(words))([*words, *program] or ["--help"], prog_name="gossamer")
    except USER_ERRORS as error:
        if debug:
            raise
        _tell(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    sys.exit(0)


def _verb(words: Sequence[str]) -> str | None:
    named = next((word for word in words if not word.startswith("-")), None)
    return named if named in VERBS else None


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words that are ours, and those of the program that `run` runs, in which nothing is."""
    if _verb(words) != "run":
        return words, []
    at = words.index("run") + 1
    while at < len(words) and words[at][:1] == "-" and words[at] != "--" and words[at][:2] != "-m":
        at += 2 if words[at] in ("--as", "--api") else 1
    ours, program = words[:at], words[at:]
    return ours, ["--", *program[program[:1] == ["--"] :]] if program else []


def _app(verb: str | None) -> Callable[..., Any]:
    """The typer application, in which only `verb` is more than its name and its help."""
    try:
        import typer
    except ImportError as missing:
        raise ImportError(
            f"the commands need {missing.name}, which is not installed: pip install gossamer[cli]"
        ) from None
    examples = (f"[cyan]{example}[/cyan]" for _, example in VERBS.values())
    app = typer.Typer(
        help=ABOUT,
        epilog="\n\n".join(("[bold]For example[/bold]", *examples, MORE)),
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    def tell_version(asked: bool) -> None:
        if asked:
            typer.echo(f"gossamer {__version__}")
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", callback=tell_version, is_eager=True, help="Show the version."
        ),
        debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    ) -> None:
        pass

    for name, (summary, _) in VERBS.items():
        module = _module(name) if name == verb else None
        if group := getattr(module, "group", None):
            app.add_typer(group, name=name, short_help=summary)
        else:
            app.command(name, short_help=summary)(module.command if module else _unloaded)
    return app


def _module(verb: str) -> ModuleType:
    return import_module(f"gossamer.cli.{verb.replace('-', '_')}")


def _unloaded() -> None:
    """Stands for a verb that this run does not need, so that help comes at once."""


def _tell(error: BaseException) -> NoReturn:
    text = f"error: {str(error) or type(error).__name__}"
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        text = f"\033[31m{text}\033[0m"
    print(text, file=sys.stderr)  # noqa: T201
    sys.exit(2)
