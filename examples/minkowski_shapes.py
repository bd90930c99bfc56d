"""Tells the points of balls from those of boxes; written for MinkowskiEngine 0.5.

gossamer run --as MinkowskiEngine examples/minkowski_shapes.py
"""

import MinkowskiEngine as ME
import torch
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Net(ME.MinkowskiNetwork):
    """One level down, one up beside what there was, two scores a voxel."""

    def __init__(self):
        super().__init__(3)
        up = ME.MinkowskiConvolutionTranspose
        self.stem, self.down = self.layer(1, 16, 3), self.layer(16, 32, 2, stride=2)
        self.middle, self.up = self.layer(32, 32, 3), self.layer(32, 16, 2, stride=2, kind=up)
        self.head = ME.MinkowskiConvolution(32, 2, kernel_size=1, bias=True, dimension=3)

    def layer(self, inward, outward, size, stride=1, kind=ME.MinkowskiConvolution):
        convolution = kind(inward, outward, kernel_size=size, stride=stride, dimension=3)
        return nn.Sequential(convolution, ME.MinkowskiBatchNorm(outward), ME.MinkowskiReLU())

    def forward(self, x):
        x = self.stem(x)
        return self.head(ME.cat(x, self.up(self.middle(self.down(x)))))


def scene(label):
    """The voxels of a ball, or with label 1 of a box, and a feature and the label of each."""
    points = torch.randn(600, 3)
    points /= points.abs().amax(1, keepdim=True) if label else points.norm(dim=1, keepdim=True)
    voxels = ME.utils.sparse_quantize(points, quantization_size=0.25)
    return voxels, torch.ones(len(voxels), 1), torch.full((len(voxels),), label)


def main(steps=12):
    torch.manual_seed(0)
    model = Net().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        voxels, features, labels = ME.utils.batch_sparse_collate([scene(i % 2) for i in range(4)])
        scores = model(ME.SparseTensor(features, voxels, device=DEVICE))
        loss = nn.functional.cross_entropy(scores.F, labels.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}  loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
