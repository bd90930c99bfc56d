"""`cumm.tensorview`: arrays in host memory, which upstream's voxelizers take and return."""

from gossamer.compat.cumm.tensorview import gemm as gemm
from gossamer.compat.host.creation import cat_first_axis as cat_first_axis
from gossamer.compat.host.creation import empty as empty
from gossamer.compat.host.creation import from_numpy as from_numpy
from gossamer.compat.host.creation import full as full
from gossamer.compat.host.creation import numpy_view as get_numpy_view
from gossamer.compat.host.creation import zeros as zeros
from gossamer.compat.host.dtypes import NPDTYPE_TO_TENSOR_MAP as NPDTYPE_TO_TENSOR_MAP
from gossamer.compat.host.dtypes import NUMBERS
from gossamer.compat.host.dtypes import TENSOR_TO_NPDTYPE_MAP as TENSOR_TO_NPDTYPE_MAP
from gossamer.compat.host.dtypes import get_npdtype_from_tvdtype as get_npdtype_from_tvdtype
from gossamer.compat.host.dtypes import tvdtype_bitsize as tvdtype_bitsize
from gossamer.compat.host.dtypes import tvdtype_itemsize as tvdtype_itemsize
from gossamer.compat.host.tensor import Tensor as Tensor
from gossamer.compat.host.timers import measure_and_print as measure_and_print
from gossamer.compat.host.timers import measure_duration as measure_duration

numpy_view = get_numpy_view

float32 = NUMBERS["float32"]
int32 = NUMBERS["int32"]
int16 = NUMBERS["int16"]
int8 = NUMBERS["int8"]
float64 = NUMBERS["float64"]
bool_ = NUMBERS["bool"]
uint8 = NUMBERS["uint8"]
float16 = NUMBERS["float16"]
int64 = NUMBERS["int64"]
uint16 = NUMBERS["uint16"]
uint32 = NUMBERS["uint32"]
uint64 = NUMBERS["uint64"]
bfloat16 = 12  # no array has one of these two; upstream's kernels are told of them
tf32 = 13
unknown = -1


def div_up(a, b):
    """`a / b`, rounded up."""
    return -(-a // b)


def is_cpu_only() -> bool:
    """True: these tensors live in host memory."""
    return True
