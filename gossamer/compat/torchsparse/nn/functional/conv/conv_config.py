"""Settings of a convolution: of one layer, of all layers, or those that the modes lead to."""

import warnings
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any

from gossamer.compat.torchsparse.nn.functional.conv.conv_mode import (
    ConvMode,
    get_conv_mode,
    get_downsample_mode,
    get_kmap_mode,
)
from gossamer.compat.torchsparse.nn.functional.conv.utils import AttributeDict
from gossamer.ops.plans import in_dataflow

__all__ = [
    "Dataflow",
    "clear_global_conv_config",
    "get_default_conv_config",
    "get_global_conv_config",
    "set_global_conv_config",
]


class Dataflow(Enum):
    """How TorchSparse walks a kernel map; results do not depend on it."""

    ImplicitGEMM = 0
    GatherScatter = 1
    FetchOnDemand = 2
    CodedCSR = 3


class _Chosen:
    """The choice of this process."""

    config: MutableMapping[str, Any] | None = None


def get_default_conv_config(
    conv_mode: ConvMode = ConvMode.mode0, training: bool = False
) -> AttributeDict:
    """A new config, as a mode of dataflow and the modes of kernel maps have it."""
    return AttributeDict(
        dataflow=Dataflow.ImplicitGEMM,
        ifsort=conv_mode is not ConvMode.mode0,
        kmap_mode=get_kmap_mode(),
        downsample_mode=get_downsample_mode(),
        split_mask_num=3 if conv_mode is ConvMode.mode2 else 1,
        split_mask_num_bwd=3,
        epsilon=0.0,
        mm_thresh=0,
        FOD_fusion=True,
    )


def keys_check(conv_config: MutableMapping[str, Any]) -> None:
    """Give a config the defaults of what it lacks, with a warning."""
    default = get_default_conv_config(get_conv_mode())
    missing = [key for key in default if key not in conv_config]
    conv_config.update({key: default[key] for key in missing})
    if missing:
        warnings.warn(
            f"conv_config has no {', '.join(missing)}; the defaults are used", stacklevel=3
        )


def get_global_conv_config() -> MutableMapping[str, Any] | None:
    """As it was set last, None where the modes count."""
    return _Chosen.config


def set_global_conv_config(conv_config: MutableMapping[str, Any]) -> None:
    """Let all layers without a config of their own have this one from now on."""
    keys_check(conv_config)
    _Chosen.config = conv_config


def clear_global_conv_config() -> None:
    """Let the modes count again."""
    _Chosen.config = None


def resolved(config: Mapping[str, Any] | None, training: bool) -> AttributeDict:
    """What counts for a layer: its own config, else that of all layers, else the modes.

    A field that a layer's config lacks is as if it had none.

    Raises:
        ValueError: the dataflow is none that can run.
    """
    config, found = config or {}, get_global_conv_config()
    found = AttributeDict(found or get_default_conv_config(get_conv_mode(), training))
    found.update(config)
    runnable = [flow for flow in Dataflow if flow is not Dataflow.CodedCSR]
    if found.dataflow not in runnable:
        raise ValueError(
            f"unsupported dataflow: {found.dataflow}; wanted one of "
            f"{', '.join(map(str, runnable))}, which all give the same results"
        )
    return found


def ordered(config: Mapping[str, Any]) -> AbstractContextManager:
    """A block in which the rows of kernel maps are ordered as a config says."""
    if config["dataflow"] is not Dataflow.ImplicitGEMM:
        return nullcontext()
    if not config["ifsort"]:
        return in_dataflow("natural")
    return in_dataflow("planes" if config["split_mask_num"] > 1 else "sorted")
