"""What `gossamer check-dropin` says of code: each name, its line, and what becomes of it."""

import json
import os
from pathlib import Path

import pytest

from gossamer.cli import main
from gossamer.compat.dropin import Status, scan
from gossamer.compat.dropin.files import files_of

COVERED, GUARDED, MISSING = Status


def found(path: Path, **options) -> list[tuple[str, str, Status]]:
    return [(f.place, f.symbol, f.status) for f in scan(path, **options).findings]


@pytest.fixture
def write(tmp_path):
    """Writes files under a folder, and gives the folder."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def code_of(*words: object) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(["check-dropin", *map(str, words)])
    return left.value.code


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "import spconv.pytorch as sp\nnet = sp.SubMConv3d(1, 2, 3)",
            [("1", "spconv.pytorch", COVERED), ("2", "spconv.pytorch.SubMConv3d", COVERED)],
        ),
        (
            "import spconv.pytorch\nspconv.pytorch.conv.SubMConv9d",
            [("1", "spconv.pytorch", COVERED), ("2", "spconv.pytorch.conv.SubMConv9d", MISSING)],
        ),
        (
            "from spconv.pytorch import (SubMConv3d,\n  SubMConv9d as Nine)\nNine(1)",
            [
                ("1", "spconv.pytorch.SubMConv3d", COVERED),
                ("2", "spconv.pytorch.SubMConv9d", MISSING),
            ],
        ),
        (
            "from spconv.core import ConvAlgo\nConvAlgo.Native\nConvAlgo.Fast",
            [
                ("1", "spconv.core.ConvAlgo", COVERED),
                ("2", "spconv.core.ConvAlgo.Native", COVERED),
                ("3", "spconv.core.ConvAlgo.Fast", MISSING),
            ],
        ),
        (
            "from spconv.pytorch import *\nSubMConv3d(1, 2, 3)\nprint(torch)",
            [("1", "spconv.pytorch", COVERED), ("2", "spconv.pytorch.SubMConv3d", COVERED)],
        ),
        ("import spconv.gencode", [("1", "spconv.gencode", MISSING)]),
        (
            "from cumm import tensorview as tv\ntv.from_numpy(x)\ntv.zeros_like_what",
            [
                ("1", "cumm.tensorview", COVERED),
                ("2", "cumm.tensorview.from_numpy", COVERED),
                ("3", "cumm.tensorview.zeros_like_what", MISSING),
            ],
        ),
        (
            "import importlib\nsp = importlib.import_module('spconv.pytorch')\nsp.SubMConv3d",
            [("2", "spconv.pytorch", COVERED), ("3", "spconv.pytorch.SubMConv3d", COVERED)],
        ),
        (
            "import MinkowskiEngine as ME\nME.MinkowskiConvolution\nME.MinkowskiNothing",
            [
                ("1", "MinkowskiEngine", COVERED),
                ("2", "MinkowskiEngine.MinkowskiConvolution", COVERED),
                ("3", "MinkowskiEngine.MinkowskiNothing", MISSING),
            ],
        ),
        (
            "import torchsparse.nn.functional.downsample\nimport torchsparse.nn",
            [
                ("1", "torchsparse.nn.functional.downsample", COVERED),  # in 1.4 alone
                ("2", "torchsparse.nn", COVERED),
            ],
        ),
        (
            "import torchsparse.backends\nimport torchsparse.nn.functional.downsample",
            [
                ("1", "torchsparse.backends", COVERED),  # in 2.1 alone
                ("2", "torchsparse.nn.functional.downsample", MISSING),
            ],
        ),
        ("import torch\nimport spconvolution\ntorch.ops.other.x\nspconv.x", []),
    ],
)
def test_a_name_is_followed_to_where_it_comes_from(code, expected, write):
    folder = write(program=code)
    assert found(folder / "program.py") == expected


@pytest.mark.parametrize(
    ("line", "name", "status"),
    [
        ("sub = sp.SubMConv3d\n    sub.nothing", "SubMConv3d.nothing", MISSING),
        ("getattr(sp, 'SubMConv9d')", "SubMConv9d", MISSING),
        ("getattr(sp, 'SubMConv9d', None)", "SubMConv9d", GUARDED),
        ("hasattr(sp, 'SubMConv9d')", "SubMConv9d", GUARDED),
        ("getattr(sp, kind)", None, None),
        ("sp = other()\n    sp.SubMConv9d", None, None),
        ("for sp in many: sp.SubMConv9d", None, None),
    ],
)
def test_a_name_in_a_function_is_the_modules_unless_hidden(line, name, status, write):
    folder = write(program=f"def f(kind):\n    {line}\nimport spconv.pytorch as sp\n")
    last = [(symbol, status) for _, symbol, status in found(folder) if symbol != "spconv.pytorch"]
    assert last[-1:] == ([(f"spconv.pytorch.{name}", status)] if name else [])


@pytest.mark.parametrize(
    ("around", "status"),
    [
        ("try:\n    {}\nexcept ImportError:\n    pass", GUARDED),
        ("try:\n    {}\nexcept:\n    pass", GUARDED),
        ("try:\n    {}\nexcept (KeyError, ModuleNotFoundError):\n    pass", GUARDED),
        ("with contextlib.suppress(ImportError):\n    {}", GUARDED),
        ("try:\n    import spconv\nexcept ImportError:\n    {}", GUARDED),
        ("try:\n    import spconv.gencode\nexcept ImportError:\n    {}", MISSING),
        ("try:\n    {}\nexcept KeyError:\n    pass", MISSING),
        ("try:\n    import spconv\nexcept ImportError:\n    pass\nelse:\n    {}", MISSING),
        ("try:\n    def f():\n        {}\nexcept ImportError:\n    pass", MISSING),
    ],
)
def test_an_import_that_may_fail_is_guarded(around, status, write):
    folder = write(program=around.format("from spconv.utils import VoxelGeneratorV9"))
    said = {symbol: status for _, symbol, status in found(folder, api="2")}
    assert said["spconv.utils.VoxelGeneratorV9"] == status


def test_a_try_around_everything_does_not_excuse_an_attribute(write):
    code = "import spconv\ntry:\n    spconv.Nothing()\nexcept {}:\n    pass"
    for error, status in (("Exception", MISSING), ("AttributeError", GUARDED)):
        assert found(write(program=code.format(error)))[-1] == ("3", "spconv.Nothing", status)


PASSED_ON = (
    "import spconv\n"
    "try:\n    import spconv.pytorch as spconv\nexcept:\n    import spconv as spconv\n"
)


@pytest.mark.parametrize(
    "line",
    [
        "from ...utils.spconv_utils import spconv",
        "from pcdet.utils.spconv_utils import spconv",
        "from pcdet.utils.spconv_utils import *",
        "from pcdet.utils import *",
        "from ...utils import spconv_utils\nspconv = spconv_utils.spconv",
        "import pcdet.utils.spconv_utils as su\nspconv = su.spconv",
    ],
)
@pytest.mark.parametrize("scanned", ["", "pcdet"])
def test_a_name_is_followed_from_file_to_file(line, scanned, write):
    folder = write(
        pcdet__utils__spconv_utils=PASSED_ON,
        pcdet__models__backbones__net=f"{line}\nspconv.SubMConv3d\nspconv.SubMConv9d",
    )
    (folder / "pcdet" / "utils" / "__init__.py").write_text("from .spconv_utils import spconv\n")
    (folder / "pcdet" / "far.py").write_text("from .nearer import Layer\nLayer.nothing")
    (folder / "pcdet" / "nearer.py").write_text("from .models.backbones.layer import Layer")
    (folder / "pcdet" / "models" / "backbones" / "layer.py").write_text(
        "from spconv.pytorch import SubMConv3d as Layer"
    )
    report = scan(folder / scanned)
    far = [f.symbol for f in report.findings if f.file.name == "far.py"]
    assert far == ["spconv.pytorch.SubMConv3d", "spconv.pytorch.SubMConv3d.nothing"]
    said = {f.symbol: f.status for f in report.findings if f.file.name == "net.py"}
    assert said["spconv.pytorch.SubMConv3d"] == COVERED
    assert said["spconv.pytorch.SubMConv9d"] == MISSING


OLD = "import spconv\nfrom spconv.utils import VoxelGenerator\nspconv.SparseConv3d(1, 2, 3)\n"


def test_code_for_the_older_api_is_held_against_it(write, capsys):
    path = write(old=OLD) / "old.py"
    assert scan(path).apis == {"spconv": "1.2"}
    assert scan(path, api="2").findings[-1].hint == "api 1.2 has it"
    assert code_of(path) == 0
    assert f"gossamer run --as spconv --api 1.2 {path}" in capsys.readouterr().out


def test_operators_that_torch_keeps_are_asked_of_torch(write):
    code = OLD + "import torch\ntorch.ops.spconv.get_indice_pairs\ntorch.ops.spconv.nothing\n"
    *_, there, missing = found(write(old=code))
    assert there == ("5", "torch.ops.spconv.get_indice_pairs", COVERED)
    assert missing == ("6", "torch.ops.spconv.nothing", MISSING)


def test_what_cannot_be_read_is_said_and_the_rest_is_read(write, capsys):
    folder = write(
        new="import spconv.pytorch",
        python2="import spconv\nprint 'hello'",
        zeros="import spconv\nx = '\0'",
        others="print 'what uses none of them need not be read'",
    )
    (folder / "latin.py").write_bytes(b"x = '\xe4 spconv'\n")
    (folder / "note.ipynb").write_text("{'spconv': 1}")
    (folder / "list.ipynb").write_text('["spconv"]')
    report = scan(folder)
    assert report.files == 2 and report.findings[0].status == COVERED
    assert {path.name for path, _ in report.skipped} == {
        "python2.py",
        "zeros.py",
        "latin.py",
        "note.ipynb",
        "list.ipynb",
    }
    assert code_of(folder) == 0
    told = capsys.readouterr().out
    assert "python2.py  skipped: line 2: " in told and "2 files read, 5 files skipped" in told


def test_hidden_folders_and_environments_are_not_theirs(write):
    folder = write(mine="import spconv.pytorch", venv__lib="import spconv.gencode")
    (folder / "venv" / "pyvenv.cfg").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "hook.py").write_text("import spconv.gencode")
    assert scan(folder).files == 1


def test_the_cells_of_a_notebook_are_read_in_order(tmp_path):
    cells = [
        ("markdown", "import torchsparse"),
        ("code", "%matplotlib inline\n!pip install spconv\nimport spconv.pytorch as sp"),
        ("code", "%%bash\nif then fi"),
        ("code", "def f():\n    return sp.SubMConv9d"),
    ]
    text = {"cells": [{"cell_type": kind, "source": [code]} for kind, code in cells]}
    (tmp_path / "note.ipynb").write_text(json.dumps(text))
    assert found(tmp_path) == [
        ("cell 2:3", "spconv.pytorch", COVERED),
        ("cell 4:2", "spconv.pytorch.SubMConv9d", MISSING),
    ]


MIXED = (
    "import spconv.pytorch as sp\nsp.SubMConv3d(1, 2, 3)\nsp.SubMConv9d\n"
    "import torchsparse.nothing\n"
    "try:\n    import spconv.gencode\nexcept ImportError:\n    pass\n"
)


def test_lines_a_summary_and_the_next_command_are_shown(write, capsys):
    path = write(mixed=MIXED) / "mixed.py"
    assert code_of(path) == 1
    told = capsys.readouterr().out
    words = [line.split() for line in told.splitlines()]
    assert [f"{path}:2", "spconv.pytorch.SubMConv3d", "covered"] in words
    assert [f"{path}:3", "spconv.pytorch.SubMConv9d", "not", "covered"] in words
    assert [f"{path}:4", "torchsparse.nothing", "not", "covered"] in words
    assert [f"{path}:6", "spconv.gencode", "guarded"] in words
    assert "4 names, 4 uses in 1 file: 2 covered, 1 guarded, 1 not covered" in told
    assert "docs/spconv.md" in told and f"run --as spconv --as torchsparse {path}" in told


def test_only_what_is_missing_of_one_library(write, capsys):
    path = write(mixed=MIXED.replace("sp.SubMConv9d", "")) / "mixed.py"
    assert code_of(path, "--as", "spconv", "--missing") == 0
    told = capsys.readouterr().out
    assert "torchsparse" not in told and "SubMConv3d" not in told and "gencode" in told


def test_json_has_all_of_it(write, tmp_path):
    path = write(mixed=MIXED) / "mixed.py"
    assert code_of(path, "--json", tmp_path / "out.json", "--missing") == 1
    said = json.loads((tmp_path / "out.json").read_text())
    assert said["apis"] == {"spconv": "2", "torchsparse": "2.1"} and said["covered"] is False
    assert said["counts"] == {"covered": 2, "guarded": 1, "not covered": 2} and said["files"] == 1
    assert said["symbols"][2] == {
        "file": str(path),
        "line": 3,
        "symbol": "spconv.pytorch.SubMConv9d",
        "library": "spconv",
        "status": "not covered",
        "hint": "",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no nowhere"),
        (["empty"], "there is no .py and no .ipynb file under empty"),
        (["here.py", "--api", "3"], "wanted one of one library: spconv has 2, 1.2"),
        (["here.py", "--as", "openpcdet"], "wanted spconv, torchsparse, MinkowskiEngine"),
        ([], "PATH"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_with_exit_code_2(words, said, write, monkeypatch, capsys):
    folder = write(here="import spconv")
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder)
    assert code_of(*words) == 2
    assert said in capsys.readouterr().err


def test_code_without_any_such_name_is_covered(write, capsys):
    assert code_of(write(plain="import torch\n")) == 0
    assert "no name of spconv, torchsparse, MinkowskiEngine" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(write):
    folder = write(net="import spconv.pytorch")
    os.mkfifo(folder / "pipe.py")
    assert files_of(folder) == [folder / "net.py"]
    assert found(folder) == [("1", "spconv.pytorch", COVERED)]


def test_nothing_but_unreadable_files_is_no_answer(write):
    assert code_of(write(old="import spconv\nprint 'hello'")) == 2
