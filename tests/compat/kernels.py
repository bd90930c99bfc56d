"""Kernels of every kind on random rows, and spconv's lists of them."""

from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch import ops
from tests.compat.by_hand import conv_shape, deconv_shape, random_indices

NATIVE, IMPLICIT, SPLIT = ConvAlgo.Native, ConvAlgo.MaskImplicitGemm, ConvAlgo.MaskSplitImplicitGemm
SHAPES = {1: [19], 2: [7, 8], 3: [5, 4, 6], 4: [4, 3, 3, 4]}
COUNTS = {1: 12, 2: 20, 3: 30, 4: 30}
KERNELS = {  # ksize, stride, padding, dilation, out_padding
    "overlapping": (3, 2, 1, 1, 0),
    "apart": (2, 2, 0, 1, 0),
    "dilated": (3, 1, 2, 2, 0),
    "padded out": (3, 2, 1, 1, 1),
}
KINDS = ("submanifold", "regular", "transposed")
# A submanifold kernel has a centre, so odd sizes.
CASES = [(k, n) for k in KINDS for n in KERNELS if k != "submanifold" or KERNELS[n][0] % 2]


def kernel(name: str, ndim: int) -> list[list[int]]:
    return [[v] * ndim for v in KERNELS[name]]


def flags(kind: str) -> dict[str, bool]:
    return {"subm": kind == "submanifold", "transpose": kind == "transposed"}


def built(kind: str, ndim: int, name: str = "overlapping", count: int | None = None) -> tuple:
    """Indices, their shape, the sizes of a kernel, and its lists."""
    shape = SHAPES[ndim]
    indices = random_indices(ndim, COUNTS[ndim] if count is None else count, shape, 2)
    sizes = kernel(name, ndim)
    lists = ops.get_indice_pairs(indices, 2, shape, NATIVE, *sizes, **flags(kind))
    return indices, shape, sizes, lists


def output_shape(kind: str, shape: list[int], sizes: list[list[int]]) -> list[int]:
    if kind == "submanifold":
        return shape
    if kind == "regular":
        return conv_shape(shape, *sizes[:4])
    return deconv_shape(shape, *sizes[:3], sizes[4])
