"""The command line itself: help, versions, mistakes and exit codes."""

import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import gossamer
import gossamer.cli as cli
from gossamer.cli import VERBS, main
from gossamer.errors import NoBackendError
from gossamer.version import __version__


def run(*words: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "gossamer", *words]
    return subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def code_of(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


@pytest.fixture
def failing_verb(monkeypatch):
    """A verb `fail` that raises what `fail.error` holds."""
    module = ModuleType("gossamer.cli.fail")

    def command(name: str = "nothing") -> None:
        raise module.error  # type: ignore[attr-defined]

    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gossamer.cli.fail", module)
    monkeypatch.setitem(cli.VERBS, "fail", ("Fail.", "gossamer fail"))
    return module


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_verb_what_it_does_and_an_example(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert code_of(*words) == 0
    told = capsys.readouterr().out
    for name, (summary, example) in VERBS.items():
        assert f" {name} " in told and summary in told and example in told


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_a_module_whose_command_explains_itself(name):
    assert import_module(f"gossamer.cli.{name.replace('-', '_')}").command.__doc__


def test_help_imports_no_verb():
    program = (
        "import sys\nfrom gossamer.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(*[m for m in sys.modules if m.startswith('gossamer.cli.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "gossamer.cli." not in done.stdout


def test_the_module_and_the_command_tell_the_same_version():
    assert run("--version").stdout.split() == ["gossamer", gossamer.__version__]
    assert gossamer.__version__ == __version__


def test_a_verb_that_does_not_exist_is_told_with_the_nearest_one(capsys):
    assert code_of("docter") == 2
    told = capsys.readouterr().err
    assert "docter" in told and "doctor" in told


def test_an_option_that_does_not_exist_is_told(capsys):
    assert code_of("doctor", "--cold") == 2
    assert "--cold" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ValueError("voxel_size is 0; wanted metres above 0"),
        TypeError("features is a list; wanted a torch.Tensor"),
        FileNotFoundError(2, "No such file or directory", "scan.bin"),
        ImportError("this needs laspy: pip install gossamer[io]"),
        NoBackendError("conv", {"numba": "no complex numbers"}),
    ],
)
def test_a_users_error_is_one_clean_message_and_exit_code_2(error, failing_verb, capsys):
    failing_verb.error = error
    assert code_of("fail") == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_debug_anywhere_shows_the_traceback(failing_verb):
    failing_verb.error = ValueError("wrong")
    for words in (["--debug", "fail"], ["fail", "--debug"]):
        with pytest.raises(ValueError, match="wrong"):
            main(words)


def test_a_mistake_of_ours_is_not_dressed_as_one_of_the_users(failing_verb):
    failing_verb.error = KeyError("batch")
    with pytest.raises(KeyError):
        main(["fail"])


def test_a_keyboard_interrupt_leaves_with_130(failing_verb):
    failing_verb.error = KeyboardInterrupt()
    assert code_of("fail") == 130


def test_an_argument_that_is_named_like_a_verb_does_not_choose_it(failing_verb, capsys):
    failing_verb.error = ValueError("reached")
    assert code_of("fail", "--name", "doctor") == 2
    assert "reached" in capsys.readouterr().err


def test_without_typer_the_message_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)
    assert code_of("--help") == 2
    told = capsys.readouterr().err
    assert "pip install gossamer[cli]" in told and "Traceback" not in told
