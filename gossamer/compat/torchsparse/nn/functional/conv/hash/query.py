"""Looking hashes up, and kernel maps read backwards."""

import torch
from torch import Tensor

from gossamer.compat.torchsparse.nn.functional.query import sphashquery

__all__ = ["convert_transposed_out_in_map", "sphashquery"]


def convert_transposed_out_in_map(out_in_map: Tensor, size: int) -> Tensor:
    """[size, K] int32: the output that each input feeds through each tap, or -1.

    Args:
        out_in_map: [M, K] int32, the input of each output, or -1.
        size: rows of the result, at least as many as there are inputs.

    Raises:
        ValueError: an input is not below `size`.
    """
    output, tap = (out_in_map >= 0).nonzero().unbind(1)
    source = out_in_map[output, tap].long()
    if len(source) and int(source.max()) >= size:
        raise ValueError(
            f"size is {size}, and out_in_map has inputs up to {int(source.max())}; wanted more"
        )
    found = out_in_map.new_full((size, out_in_map.shape[1]), -1, dtype=torch.int32)
    found[source, tap] = output.int()
    return found
