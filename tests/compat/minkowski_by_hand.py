"""MinkowskiEngine's definitions over dicts of coordinates, in plain Python."""

from itertools import product

import torch

from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor


def points(ndim, rows=40, reach=5, batch=2, seed=0):
    """[R, 1+D] int32 in any order, with repeats and negative numbers."""
    made = torch.Generator().manual_seed(seed)
    spots = torch.randint(-reach, reach, (rows, 1 + ndim), generator=made)
    spots[:, 0] = torch.randint(0, batch, (rows,), generator=made)
    return spots.int()


def tensor(ndim, channels=3, stride=1, dtype=torch.float64, **options):
    """A SparseTensor on such points times the tensor stride."""
    spots = points(ndim, **options)
    spots[:, 1:] *= stride
    made = torch.Generator().manual_seed(len(spots))
    features = torch.randn(len(spots), channels, generator=made, dtype=torch.float64)
    return SparseTensor(features.to(dtype), spots, tensor_stride=stride)


def as_dict(x):
    """{(batch, axes): features}."""
    return {tuple(c): f for c, f in zip(x.C.tolist(), x.F, strict=True)}


def cube(sizes, dilation, stride):
    """The offsets of a box; axis 0 counts fastest."""
    axes = []
    for size, d, s in zip(sizes, dilation, stride, strict=True):
        first = -(size // 2) if size % 2 else 0
        axes.append([(first + j) * d * s for j in range(size)])
    return [tuple(reversed(o)) for o in product(*reversed(axes))]


def cross(sizes, dilation, stride):
    """The centre, and along each axis 1, 2, .. r, -r, .. -1."""
    offsets = [(0,) * len(sizes)]
    for axis, size in enumerate(sizes):
        r = size // 2
        for step in [*range(1, r + 1), *range(-r, 0)]:
            offset = [0] * len(sizes)
            offset[axis] = step * dilation[axis] * stride[axis]
            offsets.append(tuple(offset))
    return offsets


def moved(c, offset):
    return (c[0], *(a + b for a, b in zip(c[1:], offset, strict=True)))


def floored(c, stride):
    return (c[0], *(v // s * s for v, s in zip(c[1:], stride, strict=True)))


def pairs(inputs, outputs, offsets):
    """{(tap, input, output)} of a convolution: input = output + offset."""
    there = set(inputs)
    return {
        (k, moved(o, off), o)
        for k, off in enumerate(offsets)
        for o in outputs
        if moved(o, off) in there
    }


def summed(inputs, outputs, triples, weight):
    """{output: features}: over pairs the sum of input features times the tap's weight."""
    total = {o: torch.zeros(weight.shape[2], dtype=weight.dtype) for o in outputs}
    for k, i, o in triples:
        total[o] = total[o] + inputs[i] @ weight[k]
    return total


def reduced(inputs, outputs, triples, how):
    """{output: features}: the sum, mean or maximum over pairs, 0 without any."""
    seen = {o: [] for o in outputs}
    for _, i, o in triples:
        seen[o].append(inputs[i])
    width = len(next(iter(inputs.values())))
    make = {"sum": lambda v: v.sum(0), "mean": lambda v: v.mean(0), "max": lambda v: v.amax(0)}[how]
    return {
        o: make(torch.stack(v)) if v else torch.zeros(width, dtype=torch.float64)
        for o, v in seen.items()
    }


def check(y, wanted, tolerance=1e-9):
    """`y` has exactly the sites of `wanted` and its features."""
    came = as_dict(y)
    assert len(came) == len(y)
    assert came.keys() == wanted.keys()
    for c, f in wanted.items():
        torch.testing.assert_close(came[c].double(), f.double(), rtol=tolerance, atol=tolerance)
