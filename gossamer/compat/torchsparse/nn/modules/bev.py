"""From voxels to a map seen from above."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.pointcells.pillars import flattened, grouped, merged, numbered, on_map
from gossamer.compat.pointcells.samples import samples_of
from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.nn.located import located

__all__ = [
    "ToBEVConvolution",
    "ToBEVHeightCompression",
    "ToBEVReduction",
    "ToDenseBEVConvolution",
]


def _batch_size(input: SparseTensor) -> int:
    said = input.spatial_range
    return samples_of(input.coords[:, 0], None if said is None else said[0])


def _range_below(input: SparseTensor, dim: int, stride: int = 1) -> tuple[int, ...] | None:
    """The range of a map without axis `dim`, with cells of `stride` voxels."""
    if input.spatial_range is None:
        return None
    batch, *sizes = input.spatial_range
    return (batch, *(1 if i == dim else -(-size // stride) for i, size in enumerate(sizes)))


def _kernel(count: int, in_channels: int, out_channels: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(count, in_channels, out_channels))


class _Axis(nn.Module):
    """What all four share: an axis that is looked along.

    Args:
        dim: 0, 1 or 2, for x, y or z.
    """

    def __init__(self, dim: int):
        super().__init__()
        if dim not in (0, 1, 2):
            raise ValueError(f"dim is {dim!r}; wanted 0, 1 or 2, the axis x, y or z that goes up")
        self.dim = dim

    @located
    def forward(self, input: SparseTensor) -> SparseTensor | Tensor:
        return outside_graphs(self._seen, input)

    def _seen(self, input: SparseTensor) -> SparseTensor | Tensor:
        raise NotImplementedError


class _Map(_Axis):
    """A dense map.

    Args:
        shape: three numbers of voxels, of x, y and z.
        offset: the voxel at the corner of the map, counted at stride 1.
        dim: the axis that is looked along.
    """

    offset: Tensor
    shape: Tensor

    def __init__(self, shape: Sequence[int] | Tensor, offset: Sequence[int], dim: int):
        super().__init__(dim)
        self.register_buffer("offset", torch.tensor([[*offset, 0]], dtype=torch.int32))
        self.register_buffer("shape", torch.as_tensor(shape).int())
        self.bev_dims = [axis for axis in range(3) if axis != dim]

    @property
    def bev_shape(self) -> Tensor:
        """[2] int32: how many cells the map has."""
        return self.shape[self.bev_dims]

    def _columns(self, input: SparseTensor, axes: Sequence[int]) -> list[Tensor]:
        """The batch and the cells along some axes, from the corner of the map on."""
        coords, corner = input.coords.long(), self.offset[0].tolist()
        inward = [-(-corner[axis] // input.stride[axis]) for axis in axes]
        return [coords[:, 0]] + [
            coords[:, 1 + axis] - low for axis, low in zip(axes, inward, strict=True)
        ]


class ToBEVReduction(_Axis):
    """The mean over the voxels that stand on one another, on a sparse map."""

    def __init__(self, dim: int = 1):
        super().__init__(dim)

    def extra_repr(self) -> str:
        return f"dim = {self.dim}"

    def _seen(self, input: SparseTensor) -> SparseTensor:
        coords = input.coords.clone()
        coords[:, 1 + self.dim] = 0
        rows, group = merged(coords, _batch_size(input))
        feats = grouped(input.feats, group, len(rows), "mean")
        return SparseTensor(feats, rows, input.stride, _range_below(input, self.dim))


class ToDenseBEVConvolution(_Map):
    """A dense map [B, C_out, ...]: each voxel times the weight of its height, summed up.

    Args:
        in_channels, out_channels: C_in and C_out.
        shape: three numbers of voxels, of x, y and z, at the stride of the input.
        offset: the voxel at the corner of the map, counted at stride 1; heights count from 0.
        dim: 0, 1 or 2, the axis that is looked along.
        bias: whether there is one; it counts once a voxel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        shape: Sequence[int] | Tensor,
        offset: Sequence[int] = (0, 0, 0),
        dim: int = 1,
        bias: bool = False,
    ):
        super().__init__(shape, offset, dim)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.n_kernels = int(self.shape[dim])
        self.kernel = _kernel(self.n_kernels, in_channels, out_channels)
        self.bias = nn.Parameter(torch.zeros(1, out_channels)) if bias else 0
        self.reset_parameters()

    def extra_repr(self) -> str:
        return (
            f"in_channels={self.in_channels}, out_channels={self.out_channels}, "
            f"n_kernels={self.n_kernels}"
        )

    def reset_parameters(self) -> None:
        std = 1.0 / math.sqrt(self.in_channels)
        self.kernel.data.uniform_(-std, std)

    def _seen(self, input: SparseTensor) -> Tensor:
        shape = self.bev_shape.tolist()
        cells, group = numbered(self._columns(input, self.bev_dims), shape)
        height = input.coords[:, 1 + self.dim].long()
        bias = self.bias if isinstance(self.bias, Tensor) else None
        feats = flattened(input.feats, height, group, self.kernel, bias, len(cells))
        return on_map(feats, cells, _batch_size(input), shape)


class ToBEVConvolution(_Axis):
    """A sparse map: each voxel times the weight of its height, summed up.

    Args:
        in_channels, out_channels: of the features.
        n_kernels: how many heights there are, from 0 on.
        stride: edge of a map's cell, in voxels of the input.
        dim: 0, 1 or 2, the axis that is looked along.
        bias: whether there is one; it counts once a voxel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_kernels: int,
        stride: int = 1,
        dim: int = 1,
        bias: bool = False,
    ):
        super().__init__(dim)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.n_kernels = n_kernels
        self.stride = stride
        self.kernel = _kernel(n_kernels, in_channels, out_channels)
        self.bias = nn.Parameter(torch.zeros(1, out_channels)) if bias else 0
        self.reset_parameters()

    def reset_parameters(self) -> None:
        std = 1.0 / math.sqrt(self.in_channels)
        self.kernel.data.uniform_(-std, std)

    def extra_repr(self) -> str:
        return (
            f"in_channels={self.in_channels}, out_channels={self.out_channels}, "
            f"n_kernels={self.n_kernels}, stride={self.stride}"
        )

    def _seen(self, input: SparseTensor) -> SparseTensor:
        coords = input.coords.long()
        height = coords[:, 1 + self.dim].clone()
        cells = coords[:, 1:].div(self.stride, rounding_mode="floor")
        coords = torch.cat([coords[:, :1], cells], dim=1)
        coords[:, 1 + self.dim] = 0
        rows, group = merged(coords, _batch_size(input))
        bias = self.bias if isinstance(self.bias, Tensor) else None
        feats = flattened(input.feats, height, group, self.kernel, bias, len(rows))
        stride = tuple(step * self.stride for step in input.stride)
        return SparseTensor(feats, rows, stride, _range_below(input, self.dim, self.stride))


class ToBEVHeightCompression(_Map):
    """A dense map [B, heights * C, ...], where heights follow one another in the channels.

    Args:
        channels: C.
        shape: three numbers of voxels, of x, y and z, at the stride of the input.
        offset: the voxel at the corner of the map, counted at stride 1.
        dim: 0, 1 or 2, the axis that is looked along; voxels below or above count in the lowest
            or highest layer.
    """

    def __init__(
        self,
        channels: int,
        shape: Sequence[int] | Tensor,
        offset: Sequence[int] = (0, 0, 0),
        dim: int = 1,
    ):
        super().__init__(shape, offset, dim)
        self.channels = channels

    def extra_repr(self) -> str:
        return f"channels={self.channels}"

    def _seen(self, input: SparseTensor) -> Tensor:
        axes = [*self.bev_dims, self.dim]
        shape = self.shape[axes].tolist()
        *columns, height = self._columns(input, axes)
        height = height.clamp(0, shape[-1] - 1)
        cells, group = numbered([*columns, height], shape)
        feats = grouped(input.feats, group, len(cells), "sum")
        grid = on_map(feats, cells, _batch_size(input), shape)
        return grid.permute(0, 4, 1, 2, 3).flatten(1, 2).contiguous()
