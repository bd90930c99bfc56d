"""The constants of `spconv.constants`: read by programs, and a few of them by this library.

Kernels here are not chosen by them: a program may assign SPCONV_USE_DIRECT_TABLE or SPCONV_DO_SORT,
and output rows are sorted and reproducible whatever they say. SPCONV_SAVED_WEIGHT_LAYOUT,
SPCONV_FX_TRACE_MODE and SPCONV_DEBUG_SAVE_PATH do what their names say.
"""

import os
from enum import Enum
from pathlib import Path

LAYOUTS = ("KRSC", "RSKC", "RSCK")

PACKAGE_NAME = "spconv"
PACKAGE_ROOT = Path(__file__).parent.resolve()
EDITABLE_INSTALLED = False
NDIM_DONT_CARE = 3
FILTER_HWIO = False
ALL_WEIGHT_IS_KRSC = True
DISABLE_JIT = os.getenv("SPCONV_DISABLE_JIT", "0") == "1"
BOOST_ROOT = None if "BOOST_ROOT" not in os.environ else Path(os.environ["BOOST_ROOT"])
SAVED_WEIGHT_LAYOUT = os.getenv("SPCONV_SAVED_WEIGHT_LAYOUT", "")

SPCONV_BWD_SPLITK = list(map(int, os.getenv("SPCONV_BWD_SPLITK", "1,2,4,8,16,32,64").split(",")))
SPCONV_DEBUG_SAVE_PATH = os.getenv("SPCONV_DEBUG_SAVE_PATH", "")
SPCONV_DEBUG_NVRTC_KERNELS = False
SPCONV_DEBUG_CPP_ONLY = False
SPCONV_DEBUG_WEIGHT = False
SPCONV_CPP_INDICE_PAIRS = True
SPCONV_CPP_INDICE_PAIRS_IGEMM = os.getenv("SPCONV_CPP_INDICE_PAIRS_IGEMM", "0") == "1"
SPCONV_CPP_GEMM = True
SPCONV_USE_DIRECT_TABLE = True
SPCONV_DIRECT_TABLE_HASH_SIZE_SCALE = 1.1
SPCONV_ALLOW_TF32 = False
SPCONV_FX_TRACE_MODE = os.getenv("SPCONV_FX_TRACE_MODE", "0") == "1"
SPCONV_INT8_DEBUG = os.getenv("SPCONV_INT8_DEBUG", "0") == "1"
SPCONV_DO_SORT = os.getenv("SPCONV_DO_SORT", "1") == "1"


class NVRTCMode(Enum):
    """How upstream compiles kernels at run time."""

    Disabled = 0
    Direct = 1
    DynamicParallism = 2
    KernelAndCPU = 3
    ConstantMemory = 4
    Static = 5


SPCONV_NVRTC_MODE = NVRTCMode.ConstantMemory


class AllocKeys:
    """Names that upstream's allocators give to their buffers."""

    PairBwd = "PairBwd"
    IndiceNumPerLoc = "IndiceNumPerLoc"
    PairMask = "PairMask"
    MaskArgSort = "MaskArgSort"
    OutIndices = "OutIndices"
    PairFwd = "PairFwd"
    PairMaskBwd = "PairMaskBwd"
    MaskArgSortBwd = "MaskArgSortBwd"
    MaskOutputFwd = "MaskOutputFwd"
    OutFeatures = "OutFeatures"
    Features = "Features"
    Filters = "Filters"
    OutBp = "OutBp"
    DIn = "DIn"
    DFilters = "DFilters"
    InpBuffer = "InpBuffer"
    OutBuffer = "OutBuffer"
    IndicePairsUniq = "IndicePairsUniq"
    IndicePairsUniqBackup = "IndicePairsUniqBackup"
    HashKOrKV = "HashKOrKV"
    HashV = "HashV"
    ThrustTemp = "ThrustTemp"
    TightUniqueCount = "TightUniqueCount"


if "SPCONV_FILTER_HWIO" in os.environ:
    raise NotImplementedError(
        "SPCONV_FILTER_HWIO is set; spconv 2 has no such layout any more; unset it, and set "
        "SPCONV_SAVED_WEIGHT_LAYOUT to KRSC, RSKC or RSCK where checkpoints need it"
    )
if SAVED_WEIGHT_LAYOUT and SAVED_WEIGHT_LAYOUT not in LAYOUTS:
    raise AssertionError(
        f"SPCONV_SAVED_WEIGHT_LAYOUT is {SAVED_WEIGHT_LAYOUT!r}; wanted one of {LAYOUTS}, or unset"
    )
