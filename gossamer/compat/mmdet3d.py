"""A plug-in for mmdet3d and whatever else is built on mmengine: sparse layers run on gossamer.

A config asks for it, and nothing else in it changes:

    custom_imports = dict(imports=["gossamer.compat.mmdet3d"])

`import spconv` gives gossamer's facade from then on, the ten layers that configs name are its
layers, and those of `mmcv.ops`, which Cylinder3D imports by itself, run on gossamer too. It may
come before mmdet3d or after. Where mmdet3d was imported first, in a process without spconv, its
networks are made for mmcv's layers, and keep them.

`import torchsparse` gives gossamer's facade of TorchSparse 1.4, for which MinkUNet and SPVCNN are
written, unless the process has another one already. mmdet3d looks for it when it is imported, so
for these two networks the plug-in has to come before.
"""

import sys
from contextlib import suppress

from gossamer.compat import install, mmcv
from gossamer.compat.install import register

try:
    from mmengine.registry import MODELS
except ImportError as error:
    raise ImportError(
        f"gossamer.compat.mmdet3d puts layers into mmengine's registry, and mmengine can't be "
        f"imported ({error}): pip install mmengine"
    ) from error

LAYERS = (
    "SparseConv2d",
    "SparseConv3d",
    "SparseConv4d",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SubMConv2d",
    "SubMConv3d",
    "SubMConv4d",
)


def _made_for_mmcv() -> bool:
    """Whether mmdet3d has looked for spconv already, and found none."""
    looked = sys.modules.get("mmdet3d.models.layers.spconv")
    return looked is not None and not looked.IS_SPCONV2_AVAILABLE


def _register() -> None:
    from gossamer.compat.spconv import pytorch

    for name in LAYERS:
        MODELS.register_module(name=name, module=getattr(pytorch, name), force=True)


FACADE_FITS = not _made_for_mmcv()
if FACADE_FITS:
    install("spconv")
with suppress(ImportError):
    register("torchsparse", "1.4")
# Importing mmcv.ops registers its layers, which it does without force: so that comes first.
with suppress(ImportError):
    mmcv.install()
if FACADE_FITS:
    _register()
