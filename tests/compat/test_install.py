"""A facade under the name of the library that it stands for; in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gossamer.compat import install
from gossamer.compat.install import FACADES, known_api

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "from gossamer.compat import install; install('spconv')\n"
INSTALL_OLD = "from gossamer.compat import install; install('spconv', api='1.2')\n"


def told(program: str, *folders: Path) -> str:
    """What a program prints that has these folders, and gossamer, on its path."""
    path = os.pathsep.join(map(str, (*folders, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def real(tmp_path) -> Path:
    """A folder with other packages of the names that a facade takes."""
    for name in ("spconv", "cumm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("real = True\n")
        (tmp_path / name / "gencode.py").write_text("")
    return tmp_path


def test_modules_and_classes_are_one_and_the_same_under_both_names(real):
    told(
        INSTALL + "import sys, pkgutil, gossamer.compat.spconv as ours\n"
        "import spconv\n"
        "assert spconv is ours and not hasattr(spconv, 'real')\n"
        "import spconv.pytorch as sp\n"
        "from spconv.pytorch.conv import SubMConv3d\n"
        "from gossamer.compat.spconv.pytorch import SubMConv3d as same\n"
        "assert sp.SubMConv3d is SubMConv3d is same\n"
        "names = [m.name for m in pkgutil.walk_packages(ours.__path__, ours.__name__ + '.')]\n"
        "assert len(names) > 15\n"
        "for name in names:\n"
        "    assert sys.modules[name.removeprefix('gossamer.compat.')] is sys.modules[name]\n"
        "twice = [n for n, m in sys.modules.items() if n.startswith('spconv.')"
        " and m.__spec__.name != 'gossamer.compat.' + n]\n"
        "assert not twice, twice\n",
        real,
    )


def test_submodules_and_the_version_are_there_right_after_the_import_of_the_top():
    told(
        INSTALL + "import spconv, cumm\n"
        "spconv.constants.SPCONV_USE_DIRECT_TABLE = False\n"
        "assert spconv.pytorch.SubMConv3d and spconv.utils and spconv.core.ConvAlgo\n"
        "assert cumm.tensorview.from_numpy\n"
        "assert spconv.__version__ == '2.3.8'\n"
        "from importlib.metadata import version, distributions\n"
        "assert version('spconv') == version('SPConv') == '2.3.8'\n"
        "import importlib.util as util\n"
        "assert util.find_spec('spconv') and util.find_spec('spconv.pytorch')\n"
    )


def test_find_spec_knows_the_library_before_anything_is_loaded():
    told(
        "from gossamer.compat.install import register\n"
        "register('spconv')\n"
        "import sys, importlib.util as util\n"
        "assert util.find_spec('spconv').name == 'spconv' and util.find_spec('nothing') is None\n"
        "assert 'torch' not in sys.modules\n"
    )


def test_the_older_api_is_another_package():
    told(
        INSTALL_OLD + "import spconv, gossamer.compat.spconv1 as ours\n"
        "assert spconv is ours and spconv.SubMConv3d and not hasattr(spconv, 'pytorch')\n"
        "import torch\n"
        "assert torch.ops.spconv.get_indice_pairs\n"
    )


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("import spconv.gencode", "spconv.gencode"),
        ("import spconv.pytorch.quantization.intrinsic", "spconv.pytorch.quantization"),
        ("from spconv.pytorch import quantization", "spconv.pytorch.quantization"),
        ("from spconv.utils import VoxelGeneratorV2", "spconv.utils.VoxelGeneratorV2"),
        ("import cumm.gemm", "cumm.gemm"),
    ],
)
def test_what_the_facade_lacks_is_said_and_never_taken_from_a_real_library(line, missing, real):
    message = told(
        INSTALL + f"try:\n    {line}\nexcept ModuleNotFoundError as error:\n"
        "    print(error.name, error, sep='|')\n",
        real,
    )
    name, said = message.strip().split("|")
    assert name == missing
    assert "gossamer's facade" in said and missing in said and "docs/spconv.md" in said


def test_a_name_that_a_module_lacks_is_an_import_error():
    told(
        INSTALL + "try:\n    from spconv.pytorch.conv import Nothing\n"
        "except ImportError as error:\n    assert 'Nothing' in str(error)\nelse:\n    1 / 0\n"
    )


def test_a_second_install_changes_nothing_and_another_api_is_refused():
    told(
        INSTALL + "import sys, spconv\nbefore = list(sys.meta_path)\n"
        "install('spconv'); install('spconv', api='2')\n"
        "import spconv as again\nassert again is spconv and sys.meta_path == before\n"
        "try:\n    install('spconv', api='1.2')\n"
        "except ImportError as error:\n    said = str(error)\n"
        "assert \"api '2' in this process\" in said and \"'1.2' was asked for\" in said\n"
    )


@pytest.mark.parametrize("name", ["spconv", "cumm"])
def test_after_the_real_library_it_is_too_late_and_the_way_out_is_said(name, real):
    said = told(
        f"import {name}, sys\nbefore = list(sys.meta_path)\n"
        "from gossamer.compat import install\n"
        "try:\n    install('spconv')\nexcept ImportError as error:\n    print(error)\n"
        f"assert {name}.real and sys.modules[{name!r}] is {name} and sys.meta_path == before\n",
        real,
    )
    assert f"{name} is already imported, from {real}" in said
    assert "gossamer run --as spconv" in said


def test_what_is_not_there_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"'openpcdet'; there is a facade of .*spconv"):
        install("openpcdet")
    with pytest.raises(ValueError, match=r"'3'; the facade of spconv has 2, 1\.2"):
        install("spconv", api="3")
    assert known_api("spconv") == "2" == next(iter(FACADES["spconv"]))


def test_what_is_pickled_is_read_without_an_install(tmp_path):
    file = tmp_path / "tensor.pickle"
    told(
        INSTALL + "import pickle, torch, spconv.pytorch as sp\n"
        "sites = torch.tensor([[0, 1, 2, 3]], dtype=torch.int32)\n"
        "x = sp.SparseConvTensor(torch.ones(1, 4), sites, [8, 8, 8], 1)\n"
        f"pickle.dump((x, sp.SubMConv3d), open({str(file)!r}, 'wb'))\n"
    )
    told(
        f"import pickle, sys\nx, layer = pickle.load(open({str(file)!r}, 'rb'))\n"
        "assert x.features.shape == (1, 4) and layer.__name__ == 'SubMConv3d'\n"
        "assert 'spconv' not in sys.modules\n"
    )


def test_workers_of_every_kind_have_what_the_main_script_installs(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        INSTALL + "import multiprocessing\n"
        "from spconv.pytorch import SubMConv3d\n"
        "def name(of):\n"
        "    import spconv\n"
        "    return spconv.__name__ + ' ' + of.__name__\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(name, (SubMConv3d,)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, str(script)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "gossamer.compat.spconv SubMConv3d\n", done.stderr


def test_modules_of_minkowski_engine_are_found_without_its_name_as_upstreams_are():
    told(
        "from gossamer.compat import install; install('MinkowskiEngine')\n"
        "import MinkowskiOps\n"
        "from MinkowskiSparseTensor import SparseTensor\n"
        "from MinkowskiEngineBackend._C import RegionType\n"
        "import MinkowskiEngine as ME\n"
        "assert ME.MinkowskiOps is MinkowskiOps and ME.SparseTensor is SparseTensor\n"
        "assert ME.RegionType is RegionType\n"
    )
