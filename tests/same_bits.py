"""Writes a digest of everything a small network computes; one program, so that runs can differ.

python -m tests.same_bits THREADS
"""

import hashlib
import sys

import torch
from torch import nn

import gossamer
from gossamer import nn as gnn
from tests.scenes import scene


class Network(nn.Module):
    """Every family of ops, at sizes that make several pieces of work each."""

    def __init__(self):
        super().__init__()
        self.stem = gnn.SparseSequential(gnn.SubMConv2d(5, 24, 3), gnn.BatchNorm(24), gnn.ReLU())
        around, last = gnn.Linear(24, 24), gnn.BatchNorm(24)
        body = gnn.SparseSequential(gnn.SubMConv2d(24, 24, 3), last)
        self.block = gnn.Residual(body, around, gnn.ReLU())
        self.depthwise = gnn.SubMConv2d(24, 24, 3, groups=24)
        self.down = gnn.SparseConv2d(24, 40, 3, 2, 1)
        self.pool = nn.Sequential(gnn.SparseMaxPool2d(2), gnn.SparseMaxUnpool())
        self.up = gnn.SparseInverseConv2d(40, 24, 3)
        self.norm = gnn.GroupNorm(4, 24)

    def forward(self, x: gossamer.SparseTensor) -> torch.Tensor:
        x = self.depthwise(self.block(self.stem(x)))
        y = self.norm(self.up(self.pool(self.down(x))) + x)
        return torch.cat([y.features, gnn.SparseGlobalAvgPool()(y)])


def digest(threads: int) -> str:
    """The digest of outputs, gradients, sites and voxels, on that many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = Network()
    x = scene(2, 18_000, 5, side=160, batch=2)
    leaf = x.features.clone().requires_grad_()
    y = network(x.with_features(leaf))
    # A sum of torch itself may depend on its thread count, so the cotangent is given.
    y.backward(torch.linspace(-1, 1, y.numel()).view_as(y))
    points = x.coords[:, 1:].double() * 0.37 + 0.01
    voxels, row = gossamer.voxelize(points, x.features, 1.0, x.coords[:, 0])
    back = gossamer.devoxelize(voxels, points, 1.0, x.coords[:, 0], mode="trilinear")
    out = network.down(x.with_features(leaf.detach()[:, :1].expand(-1, 24)))
    results = [y, leaf.grad, *(p.grad for p in network.parameters()), out.coords]
    sha = hashlib.sha256()
    for value in (*results, voxels.coords, voxels.features, row, back):
        sha.update(value.detach().contiguous().numpy().tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(digest(int(sys.argv[1])))
