"""Convolution along a kernel map that a caller has."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gossamer.compat.arrays.layouts import link_of_table
from gossamer.compat.layers.passing import through
from gossamer.compat.rows.sites import Link
from gossamer.compat.rows.values import Values
from gossamer.compat.voxelnets.maps import KernelMap


class AlongKernelMap:
    """Called through `apply`, as a torch.autograd.Function is."""

    @staticmethod
    def apply(
        input: Tensor,
        weight: Tensor,
        kmap: Mapping[str, Any],
        config: Any,
        transposed: bool = False,
    ) -> Tensor:
        """[M, C_out], with gradients of both tensors.

        Args:
            input: [N, C_in]; where `transposed`, of the rows that the map writes.
            weight: [K, C_in, C_out].
            kmap: a kernel map, or a dict with its "out_in_map" and "sizes".
            config: without meaning here.
            transposed: whether the map is read backwards.
        """
        link = kmap.link if isinstance(kmap, KernelMap) else _link(kmap)
        return through(Values(input), link.T if transposed else link, weight).on_rows


def _link(kmap: Mapping[str, Any]) -> Link:
    inputs, outputs = kmap["sizes"]
    return link_of_table(kmap["out_in_map"][:outputs].t().contiguous(), inputs)
