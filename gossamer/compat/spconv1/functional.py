"""Convolution and pooling along rulebooks that are given as arrays: `spconv.functional` of 1.2.

Where upstream has autograd Functions there are classes with the same `apply`; gradients are those
of the ops, of every order.
"""

from torch import Tensor

from gossamer.compat.spconv1 import ops
from gossamer.compat.spconv1.ops import ConvAlgo

Algo = int | ConvAlgo


class SparseConvFunction:
    """`ops.indice_conv`, from inputs to outputs."""

    @staticmethod
    def apply(
        features: Tensor,
        filters: Tensor,
        indice_pairs: Tensor,
        indice_pair_num: Tensor,
        num_activate_out: int,
        algo: Algo = ConvAlgo.Native,
    ) -> Tensor:
        """[M, C_out]; arguments as for `ops.indice_conv`."""
        arrays = indice_pairs, indice_pair_num
        return ops.indice_conv(features, filters, *arrays, num_activate_out, algo=algo)


class SparseInverseConvFunction:
    """`ops.indice_conv` read backwards, from outputs to inputs."""

    @staticmethod
    def apply(
        features: Tensor,
        filters: Tensor,
        indice_pairs: Tensor,
        indice_pair_num: Tensor,
        num_activate_out: int,
        algo: Algo = ConvAlgo.Native,
    ) -> Tensor:
        """[N, C_out] from [M, C_in]; arguments as for `ops.indice_conv`."""
        arrays = indice_pairs, indice_pair_num
        return ops.indice_conv(features, filters, *arrays, num_activate_out, True, algo=algo)


class SubMConvFunction:
    """`ops.indice_conv` along a submanifold rulebook."""

    @staticmethod
    def apply(
        features: Tensor,
        filters: Tensor,
        indice_pairs: Tensor,
        indice_pair_num: Tensor,
        num_activate_out: int,
        algo: Algo = ConvAlgo.Native,
    ) -> Tensor:
        """[N, C_out]; arguments as for `ops.indice_conv`."""
        arrays = indice_pairs, indice_pair_num
        return ops.indice_conv(features, filters, *arrays, num_activate_out, False, True, algo)


class SparseMaxPoolFunction:
    """`ops.indice_maxpool`."""

    @staticmethod
    def apply(
        features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
    ) -> Tensor:
        """[M, C]; arguments as for `ops.indice_maxpool`."""
        return ops.indice_maxpool(features, indice_pairs, indice_pair_num, num_activate_out)


indice_conv = SparseConvFunction.apply
indice_inverse_conv = SparseInverseConvFunction.apply
indice_subm_conv = SubMConvFunction.apply
indice_maxpool = SparseMaxPoolFunction.apply
