"""The numbers that dtypes have in `cumm.tensorview`."""

import numpy as np

_NAMES = "float32 int32 int16 int8 float64 bool uint8 float16 int64 uint16 uint32 uint64".split()

NUMBERS = {name: number for number, name in enumerate(_NAMES)}
NPDTYPE_TO_TENSOR_MAP = {np.dtype(name): number for name, number in NUMBERS.items()}
TENSOR_TO_NPDTYPE_MAP = {number: dtype for dtype, number in NPDTYPE_TO_TENSOR_MAP.items()}


def number_of(dtype: object) -> int:
    """The number of a dtype: itself, or that of anything that NumPy takes for a dtype.

    Raises:
        ValueError: NumPy has no such dtype, or it has no number.
    """
    if isinstance(dtype, int):
        get_npdtype_from_tvdtype(dtype)
        return dtype
    found = np.dtype(dtype)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if found not in NPDTYPE_TO_TENSOR_MAP:
        raise ValueError(f"dtype is {found}; wanted one of {', '.join(_NAMES)}")
    return NPDTYPE_TO_TENSOR_MAP[found]


def get_npdtype_from_tvdtype(dtype: int) -> np.dtype:
    """NumPy's dtype of a number.

    Raises:
        ValueError: NumPy has none, as for bfloat16.
    """
    if dtype not in TENSOR_TO_NPDTYPE_MAP:
        raise ValueError(f"dtype is number {dtype}; wanted one of {NUMBERS}")
    return TENSOR_TO_NPDTYPE_MAP[dtype]


def tvdtype_itemsize(dtype: int) -> int:
    """The bytes of one element."""
    return get_npdtype_from_tvdtype(dtype).itemsize


def tvdtype_bitsize(dtype: int) -> int:
    """The bits of one element."""
    return 8 * tvdtype_itemsize(dtype)
