"""From voxels to a map seen from above."""

from torch import Tensor

from gossamer.compat.torchsparse.nn.modules import bev as divided
from gossamer.compat.torchsparse.tensor import SparseTensor as DividedTensor
from gossamer.compat.torchsparse14.places import BATCH_FIRST, BATCH_LAST
from gossamer.compat.torchsparse14.tensor import SparseTensor

__all__ = [
    "ToBEVConvolution",
    "ToBEVHeightCompression",
    "ToBEVReduction",
    "ToDenseBEVConvolution",
]


class ToBEVReduction(divided.ToBEVReduction):
    """The mean over the voxels that stand on one another, on a sparse map."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        """One row for each cell of the map."""
        return _kept(super().forward(_divided(input)))


class ToDenseBEVConvolution(divided.ToDenseBEVConvolution):
    """A dense map [B, C_out, ...]: each voxel times the weight of its height, summed up."""

    def forward(self, input: SparseTensor) -> Tensor:
        """The map, 0 where no voxel stands."""
        return super().forward(_divided(input))


class ToBEVConvolution(divided.ToBEVConvolution):
    """A sparse map: each voxel times the weight of its height, summed up."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        """One row for each cell of the map."""
        return _kept(super().forward(_divided(input)))


class ToBEVHeightCompression(divided.ToBEVHeightCompression):
    """A dense map [B, heights * C, ...], where heights follow one another in the channels."""

    def forward(self, input: SparseTensor) -> Tensor:
        """The map, 0 where no voxel stands."""
        return super().forward(_divided(input))


def _divided(x: SparseTensor) -> DividedTensor:
    """The same with coordinates in voxels of its own stride, batch first."""
    coords = x.coords[:, BATCH_FIRST]
    coords[:, 1:] = coords[:, 1:].div(coords.new_tensor(x.stride), rounding_mode="floor")
    return DividedTensor(x.feats, coords, x.stride)


def _kept(x: DividedTensor) -> SparseTensor:
    """The same with coordinates in voxels of the input, batch last."""
    coords = x.coords[:, BATCH_LAST]
    coords[:, :3] *= coords.new_tensor(x.stride)
    return SparseTensor(x.feats, coords, x.stride)
