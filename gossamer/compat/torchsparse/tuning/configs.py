"""The part of a convolution's config that is chosen by measuring."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gossamer.compat.torchsparse.nn.functional.conv import conv_config
from gossamer.compat.torchsparse.nn.functional.conv.conv_config import Dataflow
from gossamer.compat.torchsparse.nn.functional.conv.utils import AttributeDict
from gossamer.compat.torchsparse.nn.modules.conv import Conv3d

# What is chosen, and so what a file says of a group.
CHOSEN = (
    "epsilon",
    "mm_thresh",
    "split_mask_num",
    "split_mask_num_bwd",
    "dataflow",
    "ifsort",
    "FOD_fusion",
)
# Unsorted, sorted by one mask, sorted by one mask a kernel plane: (ifsort, split_mask_num).
ORDERS = ((False, 1), (True, 1), (True, 3))
# (tensor stride, kernel size, stride, dilation): what layers with the same maps have in common.
Group = tuple[Any, ...]
Choice = dict[str, Any]


def default() -> Choice:
    """What a convolution has of which nothing is said."""
    config = conv_config.get_default_conv_config()
    return {key: config[key] for key in CHOSEN}


def choices(device: torch.device, dataflows: Sequence[Dataflow]) -> list[Choice]:
    """What there is to choose among, the first one where it makes no difference.

    Args:
        device: on a CPU there is one.
        dataflows: those that may be chosen.
    """
    if device.type == "cpu":
        return [{**default(), "dataflow": dataflows[0]}]
    return [
        {**default(), "dataflow": dataflow, "ifsort": ifsort, "split_mask_num": split}
        for dataflow in dataflows
        for ifsort, split in (ORDERS if dataflow is Dataflow.ImplicitGEMM else ORDERS[:1])
    ]


def tunable(model: nn.Module) -> set[str]:
    """The names of convolutions with several taps."""
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, Conv3d) and module.kernel.ndim == 3
    }


def configure(model: nn.Module, chosen: Mapping[str, Choice]) -> None:
    """Give convolutions their choice, by name.

    The rest of a module's config stays; what neither says follows the modes, as ever.
    """
    for name, module in model.named_modules():
        if isinstance(module, Conv3d) and name in chosen:
            module._config = AttributeDict({**(module._config or {}), **chosen[name]})
