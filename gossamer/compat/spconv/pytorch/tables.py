"""Joining several tensors into one, and making several of one."""

from collections.abc import Sequence

import torch

from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.compat.spconv.pytorch.functional import sparse_add_hash_based
from gossamer.compat.spconv.pytorch.modules import SparseModule


class _Table(SparseModule):
    def input_spatial_size(self, out_size):
        """The spatial size that leads to `out_size`."""
        return out_size


class JoinTable(_Table):
    """The channels of tensors on the same sites, one after the other."""

    def forward(self, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
        """[N, C_i] each -> [N, sum of C_i].

        Raises:
            AssertionError: there is none, or grids, batch sizes or sites differ.
        """
        first = _on_same_sites("JoinTable", input)
        return first.replace_feature(torch.cat([x.features for x in input], 1))


class AddTable(_Table):
    """The sum of tensors on the same sites."""

    def forward(self, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
        """[N, C] each -> [N, C].

        Raises:
            AssertionError: there is none, or channels, grids, batch sizes or sites differ.
        """
        first = _on_same_sites("AddTable", input)
        widths = [x.features.shape[1] for x in input]
        assert len(set(widths)) == 1, f"AddTable got tensors of {widths} channels; wanted the same"
        total = first.features
        for x in input[1:]:
            total = total + x.features
        return first.replace_feature(total)


class AddTableMisaligned(_Table):
    """The sum of tensors of the same grid on different sites: on the union of them."""

    def forward(self, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
        return sparse_add_hash_based(*input)


class ConcatTable(SparseModule):
    """Several modules on the same input."""

    def forward(self, input) -> list:
        return [module(input) for module in self._modules.values() if module is not None]

    def add(self, module: torch.nn.Module) -> "ConcatTable":
        """Append a module; returns this table."""
        self._modules[str(len(self._modules))] = module
        return self

    def input_spatial_size(self, out_size):
        """The spatial size that leads to `out_size` through the first module."""
        return self._modules["0"].input_spatial_size(out_size)  # type: ignore[union-attr, operator]


def _on_same_sites(table: str, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
    assert len(input) > 0, f"{table} got no tensor; wanted a list of them"
    first = input[0]
    for place, other in enumerate(input[1:], 1):
        same = first.indices is other.indices or torch.equal(first.indices, other.indices)
        alike = (first.spatial_shape, first.batch_size) == (other.spatial_shape, other.batch_size)
        assert same and alike, (
            f"you can't use {table} in two sptensor with different indices: tensor {place} has "
            f"{len(other.indices)} rows on {other.spatial_shape} x {other.batch_size}, the first "
            f"{len(first.indices)} on {first.spatial_shape} x {first.batch_size}; "
            "AddTableMisaligned adds such tensors"
        )
    return first
