"""Tells the voxels of balls from those of boxes; written for TorchSparse 2.1.

gossamer run --as torchsparse examples/torchsparse_shapes.py
"""

import numpy as np
import torch
import torchsparse
import torchsparse.nn as spnn
from torch import nn
from torchsparse import SparseTensor
from torchsparse.utils.collate import sparse_collate_fn
from torchsparse.utils.quantize import sparse_quantize

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Net(nn.Module):
    """One level down, one up, a score a voxel."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(spnn.Conv3d(1, 16, 3), spnn.BatchNorm(16), spnn.ReLU(True))
        self.down = nn.Sequential(spnn.Conv3d(16, 32, 2, 2), spnn.BatchNorm(32), spnn.ReLU(True))
        self.middle = nn.Sequential(spnn.Conv3d(32, 32, 3), spnn.BatchNorm(32), spnn.ReLU(True))
        self.up = spnn.Conv3d(32, 16, 2, 2, transposed=True)
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        x = self.stem(x)
        y = self.up(self.middle(self.down(x)))
        return self.head(torchsparse.cat([x, y]).F)


def scene(rng, label):
    points = rng.normal(size=(600, 3))
    size = np.abs(points).max(1) if label else np.linalg.norm(points, axis=1)
    surface = points / size[:, None] + 2
    voxels, kept = sparse_quantize(surface, voxel_size=0.25, return_index=True)
    voxels = torch.tensor(voxels, dtype=torch.int)
    return {
        "input": SparseTensor(torch.ones(len(kept), 1), voxels),
        "label": SparseTensor(torch.full((len(kept),), label), voxels),
    }


def main(steps=16):
    torch.manual_seed(0)
    rng, model = np.random.default_rng(0), Net().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = sparse_collate_fn([scene(rng, i % 2) for i in range(4)])
        logits = model(batch["input"].to(DEVICE))
        loss = nn.functional.cross_entropy(logits, batch["label"].F.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}  loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
