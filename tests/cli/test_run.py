"""An unedited program under `gossamer run` is what it is under `python`, but for the library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gossamer.cli import main

ROOT = Path(__file__).resolve().parents[2]
# What a program can see of how it was started.
LOOK = (
    "import json, os, sys\n"
    "import __main__\n"
    "spec = __main__.__spec__ and __main__.__spec__.name\n"
    "print(json.dumps([__name__, __file__, sys.argv, sys.path, spec, sorted(vars(__main__))]))\n"
)


def start(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    """A Python in a folder, which finds gossamer and nothing else by PYTHONPATH."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    return start(folder, "-m", "gossamer", "run", "--as", "spconv", *words, **variables)


@pytest.fixture
def folder(tmp_path) -> Path:
    for path in ("look.py", "package/__init__.py", "package/look.py", "app/__main__.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(LOOK if path != "package/__init__.py" else "")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["look.py"],
        ["package/look.py", "--epochs", "3", "-x"],
        ["look.py", "--help", "--debug", "--version", "--as", "torchsparse", "--api", "9", "-m"],
        ["look.py", "--", "run", "-h", ""],
        ["-m", "package.look", "--help", "--debug", "-m"],
        ["-mlook", "--as"],
        ["app", "one word"],
    ],
    ids=" ".join,
)
def test_the_program_sees_what_it_sees_under_python(words, folder):
    alone, under = start(folder, *words), run(folder, *words)
    assert json.loads(under.stdout) == json.loads(alone.stdout)
    assert (under.returncode, under.stderr) == (0, "")


def test_two_dashes_may_stand_before_the_program(folder):
    assert run(folder, "--", "look.py", "a").stdout == start(folder, "look.py", "a").stdout


@pytest.mark.parametrize(
    "ending",
    [
        "sys.exit(0)",
        "sys.exit(7)",
        "sys.exit('a message')",
        "raise ValueError('theirs')",
        "raise ImportError('no such thing')",
        "import not_there",
        "raise KeyboardInterrupt",
        "os._exit(9)",
        "os.kill(os.getpid(), 15)",
        "def",
    ],
)
def test_exit_codes_and_tracebacks_are_the_programs_own(ending, tmp_path):
    (tmp_path / "end.py").write_text(f"import os, sys\n{ending}\n")
    alone, under = start(tmp_path, "end.py"), run(tmp_path, "end.py")
    assert (under.returncode, under.stderr) == (alone.returncode, alone.stderr)


def test_the_library_is_ours_in_the_program_and_in_all_that_it_starts(tmp_path):
    (tmp_path / "spconv.py").write_text("1 / 0")
    (tmp_path / "train.py").write_text(
        "import multiprocessing, os, subprocess, sys\n"
        "import spconv.pytorch as spconv\n"
        "from cumm import tensorview\n"
        "def where(layer):\n"
        "    import spconv\n"
        "    return spconv.__name__ + '|' + layer.__name__\n"
        "if __name__ == '__main__':\n"
        "    for kind in multiprocessing.get_all_start_methods():\n"
        "        with multiprocessing.get_context(kind).Pool(1) as pool:\n"
        "            print(pool.apply(where, (spconv.SubMConv3d,)), flush=True)\n"
        "    child = 'import spconv.pytorch as s; print(s.SubMConv3d.__name__)'\n"
        "    subprocess.run([sys.executable, '-c', child], check=True)\n"
    )
    done = run(tmp_path, "train.py")
    assert done.returncode == 0, done.stderr
    *workers, child = done.stdout.split()
    assert len(workers) >= 1 and set(workers) == {"gossamer.compat.spconv|SubMConv3d"}
    assert child == "SubMConv3d"


def test_a_loader_with_spawned_workers_has_it(tmp_path):
    (tmp_path / "train.py").write_text(
        "import torch, spconv.pytorch as spconv\n"
        "from torch.utils.data import DataLoader, Dataset\n"
        "class Scans(Dataset):\n"
        "    def __len__(self):\n        return 3\n"
        "    def __getitem__(self, row):\n"
        "        return row, spconv.SubMConv3d.__name__\n"
        "if __name__ == '__main__':\n"
        "    loader = DataLoader(Scans(), num_workers=1, multiprocessing_context='spawn')\n"
        "    print([(int(row), *name) for row, name in loader])\n"
    )
    done = run(tmp_path, "train.py")
    assert done.stdout == "[(0, 'SubMConv3d'), (1, 'SubMConv3d'), (2, 'SubMConv3d')]\n", done.stderr


def test_a_program_that_never_imports_the_library_does_not_wait_for_torch(tmp_path):
    (tmp_path / "quick.py").write_text(
        "import sys\nprint([name for name in ('torch', 'numpy', 'typer') if name in sys.modules])"
    )
    assert run(tmp_path, "quick.py").stdout == "[]\n"


def test_the_other_api_is_asked_for_by_its_number(tmp_path):
    (tmp_path / "old.py").write_text("import spconv; print(spconv.SubMConv3d.__name__)")
    done = run(tmp_path, "--api", "1.2", "old.py")
    assert done.stdout == "SubMConv3d\n", done.stderr


def test_a_sitecustomize_of_the_environment_still_runs(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import builtins; builtins.mine = 'here'")
    (tmp_path / "ask.py").write_text("import sitecustomize; print(mine, sitecustomize.__file__)")
    path = os.pathsep.join(map(str, (tmp_path / "site", ROOT)))
    alone = start(tmp_path, "ask.py", PYTHONPATH=path)
    assert alone.stdout.startswith("here")
    assert run(tmp_path, "ask.py", PYTHONPATH=path).stdout == alone.stdout


def test_a_child_that_cannot_have_the_facade_does_not_run_with_another(tmp_path):
    (tmp_path / "child.py").write_text(
        "import os, subprocess, sys\n"
        "os.environ['GOSSAMER_RUN_AS'] = 'spconv=3'\n"
        "sys.exit(subprocess.run([sys.executable, '-c', 'print(1)']).returncode)\n"
    )
    done = run(tmp_path, "child.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "api is '3'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--as", "spconv"], "no program; wanted a script or a module"),
        (["--as", "spconv", "nowhere.py"], "there is no nowhere.py"),
        (["--as", "spconv", "package"], "package is a folder without __main__.py"),
        (["--as", "spconv", "-m"], "-m names no module"),
        (["--as", "openpcdet", "look.py"], "there is a facade of spconv"),
        (["--as", "spconv", "--api", "3", "look.py"], "spconv has 2, 1.2"),
        (["--as", "spconv", "--api", "1.4", "look.py"], "one of torchsparse; add --as torchsparse"),
        (["look.py"], "--as"),
        (["--as"], "--as"),
        (["--as", "spconv", "--fast", "look.py"], "--fast"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_with_exit_code_2(words, said, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as left:
        main(["run", *words])
    told = capsys.readouterr()
    assert left.value.code == 2
    assert said in told.err and not told.out


def test_help_before_the_program_is_ours(folder):
    told = run(folder, "--help").stdout
    assert "Usage: gossamer run" in told and "--as" in told
