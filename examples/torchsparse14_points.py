"""Tells the points of balls from those of boxes, a branch of voxels and one of points; for 1.4.

gossamer run --as torchsparse --api 1.4 examples/torchsparse14_points.py
"""

import numpy as np
import torch
import torchsparse.nn as spnn
import torchsparse.nn.functional as F
from torch import nn
from torchsparse import PointTensor, SparseTensor
from torchsparse.nn.utils import get_kernel_offsets

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Net(nn.Module):
    """Points to voxels, a convolution down and one up, and back to points."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(spnn.Conv3d(3, 16, 3), spnn.BatchNorm(16), spnn.ReLU(True))
        self.down = nn.Sequential(spnn.Conv3d(16, 32, 2, 2), spnn.BatchNorm(32), spnn.ReLU(True))
        self.up = spnn.Conv3d(32, 16, 2, 2, transposed=True)
        self.points, self.head = nn.Linear(3, 16), nn.Linear(16, 2)

    def forward(self, z):
        x = self.stem(to_voxels(z))
        x = self.up(self.down(x)) + x
        return self.head(to_points(x, z) + self.points(z.F))


def to_voxels(z):
    cells = torch.cat([z.C[:, :3].floor(), z.C[:, 3:]], 1).int()
    hashes = F.sphash(cells)
    distinct = torch.unique(hashes)
    row = F.sphashquery(hashes, distinct)
    count = F.spcount(row.int(), len(distinct))
    coords = F.spvoxelize(cells.float(), row, count).round().int()
    return SparseTensor(F.spvoxelize(z.F, row, count), coords, 1)


def to_points(x, z):
    corners = get_kernel_offsets(2, x.s, 1, device=z.F.device)
    cells = torch.cat([z.C[:, :3].floor().int(), z.C[:, 3:].int()], 1)
    row = F.sphashquery(F.sphash(cells, corners), F.sphash(x.C))
    weights = F.calc_ti_weights(z.C, row, scale=x.s[0]).t().contiguous()
    return F.spdevoxelize(x.F, row.t().contiguous(), weights)


def scene(rng, sample):
    points = rng.normal(size=(300, 3))
    boxes = sample % 2
    size = np.abs(points).max(1) if boxes else np.linalg.norm(points, axis=1)
    points = points / size[:, None] * 4 + 8
    rows = np.c_[points, np.full(len(points), sample)]
    return torch.from_numpy(rows).float(), torch.full((len(rows),), boxes)


def main(steps=15):
    torch.manual_seed(0)
    rng, model = np.random.default_rng(0), Net().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        points, labels = map(
            torch.cat, zip(*[scene(rng, sample) for sample in range(4)], strict=True)
        )
        points, labels = points.to(DEVICE), labels.to(DEVICE)
        logits = model(PointTensor(points[:, :3] / 8 - 1, points))
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}  loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
