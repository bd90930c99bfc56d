"""The plug-in `gossamer.compat.mmdet3d` in real registries; each case in a process of its own."""

import subprocess
import sys

import pytest

from tests.conformance.libraries import LIBRARY

pytestmark = pytest.mark.skipif(LIBRARY != "gossamer", reason="there is nothing to plug in")
STAND_IN = "from tests.conformance import mmcv_ext; mmcv_ext.install()\n"
CONFIG = """
from mmengine.config import Config
config = Config.fromstring('''
custom_imports = dict(imports=["gossamer.compat.mmdet3d"])
encoder = dict(type="SparseEncoder", in_channels=4, sparse_shape=[41, 64, 48])
''', ".py")
"""
WITHOUT_SPCONV = "import sys; sys.modules['spconv'] = None\n"
MMDET3D = "import mmdet3d.models\n"
AND_WITH_IT_AGAIN = "del sys.modules['spconv']\n"
TRAIN = """
from mmdet3d.registry import MODELS
from tests.conformance.scenes import features, voxels
coors = voxels((41, 64, 48), 200)
net = MODELS.build(config.encoder)
net(features(len(coors), 4), coors, 2).sum().backward()
assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
conv = type(net.conv_input[0])
"""
ON_FACADE = "assert conv.__module__.startswith('gossamer.compat.spconv.'), conv\n"
ON_MMCV = "assert conv.__module__ == 'mmcv.ops.sparse_conv', conv\n"
MMCV_TOO = """
from mmcv.ops import SparseConvTensor, SubMConv3d
SubMConv3d(4, 4, 3)(SparseConvTensor(features(len(coors), 4), coors, [41, 64, 48], 2))
"""
CASES = {
    "before mmdet3d": (CONFIG, MMDET3D, TRAIN, ON_FACADE, MMCV_TOO),
    "that imports mmdet3d": (CONFIG, TRAIN, ON_FACADE, MMCV_TOO),
    "after mmdet3d without spconv": (
        WITHOUT_SPCONV,
        MMDET3D,
        AND_WITH_IT_AGAIN,
        CONFIG,
        TRAIN,
        ON_MMCV,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_unedited_config_runs_on_gossamer_with_the_plug_in(case):
    program = STAND_IN + "".join(CASES[case])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
