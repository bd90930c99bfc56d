"""What of TorchSparse 2.1's compiled module makes sense without its kernels.

Names that end in _cpu and in _cuda are the same function, on whatever device its tensors are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.compat.layers.taps import box
from gossamer.compat.pointcells.fnv import check_rows, fnv
from gossamer.compat.pointcells.means import mean_of_cells
from gossamer.compat.pointcells.queries import first_rows
from gossamer.compat.pointcells.table import Table
from gossamer.compat.pointcells.trilinear import weighted_sum
from gossamer.compat.torchsparse.nn.functional.count import spcount
from gossamer.compat.torchsparse.nn.functional.hash import sphash
from gossamer.compat.torchsparse.utils.to_dense import to_dense
from gossamer.ops.points import interpolate, spread

# Results have a multiple of this many rows, the last ones 0; callers cut them off.
DIVISOR = 128


class GPUHashTable:
    """Rows by hash or by voxel, on any device: 1 for the first row, 0 for what is not there.

    Args:
        capacity: how many different keys fit in; or the memory for them, [capacity] of the width
            of the table's keys, zeros if it is empty.
        vals: [capacity] int32, memory, where the first argument is memory.
    """

    _KEY = torch.int64

    def __init__(self, capacity: int | Tensor, vals: Tensor | None = None):
        self._capacity = capacity
        self._table = None
        if isinstance(capacity, Tensor):
            if vals is None:
                raise TypeError("vals is missing; wanted keys and vals, or a capacity alone")
            if (capacity.dtype, vals.dtype) != (self._KEY, torch.int32):
                raise TypeError(
                    f"keys is {capacity.dtype} and vals {vals.dtype}; wanted {self._KEY} and "
                    "torch.int32"
                )
            self._table = Table(capacity, vals)

    def insert_vals(self, keys: Tensor) -> None:
        """Number the rows of keys [N]; of equal ones the first counts.

        Raises:
            ValueError: there are more different keys than the table has room for.
        """
        self._on(keys).insert(keys.long())

    def lookup_vals(self, keys: Tensor) -> Tensor:
        """[N or a little more] int32: the number of each of keys [N], or 0; behind those zeros."""
        return _padded(self._on(keys).lookup(keys.long()))

    def insert_coords(self, coords: Tensor) -> None:
        """Number the rows of coords [N, 4] int, (x, y, z, batch); of equal ones the first counts.

        Raises:
            ValueError: there are more voxels than the table has room for.
        """
        self._on(coords).insert(fnv(check_rows("coords", coords, 4).unbind(1)))

    def lookup_coords(
        self, coords: Tensor, kernel_sizes: Tensor, strides: Tensor, kernel_volume: int
    ) -> Tensor:
        """[N or a little more, K] int32: the number of the voxel at each tap, or 0.

        Taps go from -(size-1)//2 on along each axis. x changes fastest where K is odd, else z.

        Args:
            coords: [N, 4] int, (x, y, z, batch).
            kernel_sizes: [3] int.
            strides: [3] int; what a tap is added to is coords * strides.
            kernel_volume: K, the product of kernel_sizes.

        Raises:
            ValueError: K is not that product.
        """
        check_rows("coords", coords, 4)
        steps = _taps(kernel_sizes.tolist(), int(kernel_volume))
        offsets = coords.new_tensor(steps, dtype=torch.int64).unbind(1)  # 3 of [K]
        *places, batch = coords.long().unsqueeze(2).unbind(1)  # 4 of [N, 1]
        moved = [
            place * stride + offset
            for place, stride, offset in zip(places, strides.tolist(), offsets, strict=True)
        ]
        return _padded(self._on(coords).lookup(fnv([*moved, batch])))

    def _on(self, like: Tensor) -> Table:
        if self._table is None:
            size = int(self._capacity)
            zeros = [like.new_zeros(size, dtype=dtype) for dtype in (self._KEY, torch.int32)]
            self._table = Table(*zeros)
        return self._table


class GPUHashTable32(GPUHashTable):
    """The same with keys of 32 bits in memory."""

    _KEY = torch.int32


def _taps(sizes: Sequence[int], volume: int) -> tuple[tuple[int, ...], ...]:
    steps = box([-((size - 1) // 2) for size in sizes], sizes, first_fastest=volume % 2 == 1)
    if len(steps) != volume:
        raise ValueError(f"kernel_volume is {volume}; a kernel of {list(sizes)} has {len(steps)}")
    return steps


def _padded(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_zeros(-len(rows) % DIVISOR, *rows.shape[1:])])


def hash_cpu(idx: Tensor) -> Tensor:
    """[N] int64: as `sphash` has them."""
    return sphash(idx)


def kernel_hash_cpu(idx: Tensor, kernel_offset: Tensor) -> Tensor:
    """[K, N] int64: as `sphash` has them."""
    return sphash(idx, kernel_offset)


def hash_query_cpu(hash_query: Tensor, hash_target: Tensor, idx_target: Tensor) -> Tensor:
    """[N] int64: 1 + idx_target at the first target that equals each query, or 0."""
    row = first_rows(hash_query, hash_target)
    if not len(idx_target):
        return torch.zeros_like(row)
    return (idx_target.long()[row.clamp(min=0)] + 1).where(row >= 0, 0)


def count_cpu(idx: Tensor, s: int) -> Tensor:
    """[s] int32: as `spcount` has them."""
    return spcount(idx, s)


def voxelize_forward_cpu(inputs: Tensor, idx: Tensor, counts: Tensor) -> Tensor:
    """[N, C]: the mean of inputs [P, C] in each of N voxels."""
    return mean_of_cells(inputs, idx, counts)


def voxelize_backward_cpu(top_grad: Tensor, idx: Tensor, counts: Tensor, N: int) -> Tensor:
    """[P, C]: what each of the N = P points gets of top_grad, a gradient of the means."""
    idx = idx.long()
    inside = (idx >= 0) & (idx < len(counts))
    share = counts.clamp(min=1).reciprocal().to(top_grad.dtype).masked_fill(counts <= 0, 0)
    rows = idx.where(inside, -1).unsqueeze(1)
    return interpolate(top_grad * share.unsqueeze(1), top_grad.new_ones(len(idx), 1), rows)


def devoxelize_forward_cpu(feat: Tensor, indices: Tensor, weight: Tensor) -> Tensor:
    """[P, C]: as `spdevoxelize` has it."""
    return weighted_sum(feat, indices, weight)


def devoxelize_backward_cpu(top_grad: Tensor, indices: Tensor, weight: Tensor, n: int) -> Tensor:
    """[n, C]: what each of n voxels gets of top_grad [P, C]."""
    rows = indices.long().clamp(min=-1)
    return spread(top_grad, weight.to(top_grad.dtype), rows, n)


def to_dense_forward_cuda(inputs: Tensor, idx: Tensor, range: Tensor, outputs: Tensor) -> None:
    """Write inputs [N, C] into outputs [B, X, Y, Z, C] at idx [N, 4]."""
    rows = idx.long().unbind(1)
    outputs[rows] = to_dense(inputs, idx, range.tolist())[rows]


def to_dense_backward_cuda(
    top_grad: Tensor, idx: Tensor, range: Tensor, bottom_grad: Tensor
) -> None:
    """Read bottom_grad [N, C] from top_grad [B, X, Y, Z, C] at idx [N, 4]."""
    bottom_grad.copy_(top_grad[idx.long().unbind(1)])


hash_cuda = hash_cpu
kernel_hash_cuda = kernel_hash_cpu
hash_query_cuda = hash_query_cpu
count_cuda = count_cpu
voxelize_forward_cuda = voxelize_forward_cpu
voxelize_backward_cuda = voxelize_backward_cpu
devoxelize_forward_cuda = devoxelize_forward_cpu
devoxelize_backward_cuda = devoxelize_backward_cpu
to_dense_forward_cpu = to_dense_forward_cuda
to_dense_backward_cpu = to_dense_backward_cuda
