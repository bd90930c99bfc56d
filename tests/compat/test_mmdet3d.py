"""The plug-in for mmdet3d, on registries made of a few lines; each case in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MMENGINE = """
import sys
from types import ModuleType

class Registry:
    def __init__(self):
        self.modules = {}

    def register_module(self, name=None, force=False, module=None):
        assert force or name not in self.modules, f"{name} is already registered"
        self.modules[name] = module

sys.modules["mmengine"] = ModuleType("mmengine")
registry = sys.modules["mmengine.registry"] = ModuleType("mmengine.registry")
registry.MODELS = Registry()
"""
MMCV = """
sys.modules["mmcv"] = ModuleType("mmcv")
ops = sys.modules["mmcv.ops"] = ModuleType("mmcv.ops")
for part in ("sparse_functional", "sparse_ops", "sparse_pool"):
    module = sys.modules[f"mmcv.ops.{part}"] = ModuleType(f"mmcv.ops.{part}")
    setattr(ops, part, module)
    module.indice_conv = None
registry.MODELS.register_module("SubMConv3d", module="mmcv's")
"""
PLUG_IN = "import gossamer.compat.mmdet3d as plug_in\n"
LAYERS = """
import spconv.pytorch
assert len(plug_in.LAYERS) == 10
for name in plug_in.LAYERS:
    assert registry.MODELS.modules[name] is getattr(spconv.pytorch, name), name
assert spconv.__name__ == "gossamer.compat.spconv"
"""


def run(*program: str) -> str:
    """What the program says when it fails, or nothing."""
    done = subprocess.run(
        [sys.executable, "-c", "".join(program)], cwd=ROOT, capture_output=True, text=True
    )
    return done.stderr if done.returncode else ""


def test_ten_layers_take_the_names_that_configs_use():
    assert not run(MMENGINE, PLUG_IN, LAYERS)


def test_names_that_mmcv_has_registered_are_taken_over_and_its_functions_replaced():
    check = "from gossamer.compat import mmcv\n"
    check += "assert ops.sparse_ops.indice_conv is mmcv.indice_conv\n"
    assert not run(MMENGINE, MMCV, PLUG_IN, LAYERS, check)


@pytest.mark.parametrize("found", [True, False])
def test_mmdet3d_that_came_first_decides_whose_layers_its_networks_are_made_for(found):
    first = 'there = sys.modules["mmdet3d.models.layers.spconv"] = ModuleType("there")\n'
    first += f"there.IS_SPCONV2_AVAILABLE = {found}\n"
    kept = "assert registry.MODELS.modules == {'SubMConv3d': \"mmcv's\"}\n"
    kept += "assert 'spconv' not in sys.modules\n"
    assert not run(MMENGINE, MMCV, first, PLUG_IN, LAYERS if found else kept)


def test_a_real_spconv_that_came_first_is_an_error_that_says_so():
    first = 'sys.modules["spconv"] = ModuleType("spconv")\n'
    assert "spconv is already imported" in run(MMENGINE, first, PLUG_IN)


def test_without_mmengine_the_error_says_what_to_install():
    gone = "import sys; sys.modules['mmengine'] = None\n"
    assert "pip install mmengine" in run(gone, PLUG_IN)
