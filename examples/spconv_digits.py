"""Handwritten digits as sparse images: a program written for spconv, and for nothing else.

    python spconv_digits.py --epochs 5                          with spconv itself
    gossamer run --as spconv spconv_digits.py --epochs 5        with gossamer

The 1,797 digits of scikit-learn, 8 x 8 pixels each, lie somewhere on a 24 x 24 canvas; only inked
pixels are sites.
"""

import argparse

import numpy as np
import spconv.pytorch as spconv
import torch
from sklearn.datasets import load_digits
from torch import nn

CANVAS = 24


class Net(nn.Module):
    """Ten scores from a sparse picture [CANVAS, CANVAS]."""

    def __init__(self):
        super().__init__()
        self.body = spconv.SparseSequential(
            spconv.SubMConv2d(1, 16, 3, bias=False, indice_key="full"),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            spconv.SubMConv2d(16, 16, 3, bias=False, indice_key="full"),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            spconv.SparseConv2d(16, 32, 3, stride=2, padding=1, bias=False, indice_key="half"),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            spconv.SubMConv2d(32, 32, 3, bias=False, indice_key="sub"),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            spconv.SparseMaxPool2d(2, 2),
        )
        self.head = nn.Linear(32 * (CANVAS // 4) ** 2, 10)

    def forward(self, x):
        return self.head(self.body(x).dense().flatten(1))


def sparse(images, rng):
    """The inked pixels of images [B, 8, 8], each image somewhere on the canvas."""
    sample, row, column = images.nonzero()
    corner = rng.integers(0, CANVAS - 8, (len(images), 2))
    sites = np.stack([sample, row + corner[sample, 0], column + corner[sample, 1]], axis=1)
    features = images[sample, row, column, None] / 16
    return spconv.SparseConvTensor(
        torch.from_numpy(features.astype(np.float32)),
        torch.from_numpy(sites.astype(np.int32)),
        [CANVAS, CANVAS],
        len(images),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--checkpoint")
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    order = rng.permutation(len(images))
    train, held_out = order[:1500], order[1500:]
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    for epoch in range(options.epochs):
        model.train()
        total = 0.0
        batches = np.array_split(rng.permutation(train), len(train) // options.batch)
        for rows in batches:
            loss = nn.functional.cross_entropy(
                model(sparse(images[rows], rng)), torch.from_numpy(labels[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            guesses = model(sparse(images[held_out], np.random.default_rng(1))).argmax(1).numpy()
        accuracy = (guesses == labels[held_out]).mean()
        print(
            f"epoch {epoch}  loss {total / len(batches):.4f}  accuracy {accuracy:.3f}", flush=True
        )
    if options.checkpoint:
        torch.save(model.state_dict(), options.checkpoint)


if __name__ == "__main__":
    main()
