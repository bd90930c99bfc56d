"""Which modules of torch.nn treat every row alike, so that the order of rows does not matter."""

from torch import nn

from gossamer.nn.chain import is_bare

ALIKE = ("batchnorm", "activation", "linear", "normalization")
# RReLU, and dropout, draw a number a place, and a seed means the caller's order.
ORDERED = (nn.MultiheadAttention, nn.RReLU)


def maps_rows_alike(module: nn.Module) -> bool:
    """Whether `module` maps [N, C] row by row, up to statistics over all of them.

    By where its class is written, so that a class of the caller's own sees its own order; and
    without hooks, which would see another one.
    """
    kind = type(module)
    alike = kind.__module__ in [f"torch.nn.modules.{name}" for name in ALIKE]
    return alike and kind not in ORDERED and is_bare(module)
