"""Cases for TorchSparse 1.4, in its own words; forward alone, which is what it has on a CPU.

One sample, since its CPU hash takes every row for one of the first row's sample.
"""

from collections.abc import Iterator
from itertools import product

import torch

from tests.compat.upstream.fingerprint import Case, print_of, random, sites, write

SIZES = (1, 2, 3, 4, 5, (3, 3, 2), (1, 3, 3), (3, 1, 1), (2, 2, 1))


def cases(torchsparse) -> Iterator[Case]:
    """Every case of the library `torchsparse`, by name."""
    yield from convolutions(torchsparse)
    yield from functions(torchsparse)


def tensor(torchsparse, seed: int, stride: int = 1):
    rows = sites(seed, 3, 0, 9, 1, 80)[:, [1, 2, 3, 0]].contiguous()
    rows[:, :3] *= stride
    return torchsparse.SparseTensor(random(seed, len(rows), 3).float(), rows, stride)


def conv(torchsparse, seed: int, inputs: int, outputs: int, *shape, **options):
    layer = torchsparse.nn.Conv3d(inputs, outputs, *shape, **options)
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = random(seed + number, *parameter.shape).float()
    return layer


def convolutions(torchsparse) -> Iterator[Case]:
    every = product(SIZES, (1, 2, 3, (2, 2, 1)), (1, 2))
    for seed, (size, stride, tensor_stride) in enumerate(every):
        # With one tap and a stride the library fails.
        if size == 1 and stride != 1:
            continue

        @torch.no_grad()
        def case(seed=seed, size=size, stride=stride, tensor_stride=tensor_stride):
            x = tensor(torchsparse, seed, tensor_stride)
            y = conv(torchsparse, seed, 3, 4, size, stride, bias=True)(x)
            return [*map(float, y.s), *print_of(y.C, y.F)]

        yield f"convolution k{size} s{stride} on {tensor_stride}", case
    for size, stride in ((2, 2), (3, 2), (3, 3), (4, 2)):

        @torch.no_grad()
        def back(size=size, stride=stride):
            x = conv(torchsparse, 1, 3, 3, 3)(tensor(torchsparse, size))
            y = conv(torchsparse, 2, 3, 3, size, stride)(x)
            y = conv(torchsparse, 3, 3, 4, size, stride, transposed=True, bias=True)(y)
            return [*map(float, y.s), *print_of(y.C, y.F)]

        yield f"transposed k{size} s{stride}", back


def functions(torchsparse) -> Iterator[Case]:
    nn = torchsparse.nn
    x = tensor(torchsparse, 5)
    torch.manual_seed(2)
    points = torch.cat([torch.rand(40, 3) * 8, torch.zeros(40, 1)], 1)
    cells = points.floor().int()
    for size, stride in product((1, 2, 3, 4, 5, (3, 3, 2), (2, 1, 3)), (1, 2)):
        offsets = nn.utils.get_kernel_offsets(size, stride)
        yield f"offsets {size} {stride}", lambda offsets=offsets: print_of(None, offsets)

    def query():
        corners = nn.functional.sphash(cells, nn.utils.get_kernel_offsets(2, 1))
        return nn.functional.sphashquery(corners, nn.functional.sphash(x.C))

    def weights():
        return nn.functional.calc_ti_weights(points, query(), scale=1)

    def devoxelized():
        return nn.functional.spdevoxelize(x.F, query().t().contiguous(), weights().t().contiguous())

    def voxelized():
        distinct = torch.unique(nn.functional.sphash(cells))
        row = nn.functional.sphashquery(nn.functional.sphash(cells), distinct)
        count = nn.functional.spcount(row.int(), len(distinct))
        values = random(3, 40, 3).float()
        return row, nn.functional.spvoxelize(values, row, count)

    yield "query", lambda: print_of(None, query())
    yield "weights", lambda: print_of(None, weights())
    yield "devoxelized", lambda: print_of(None, devoxelized())
    # The order of distinct hashes is the hash function's; a voxel's first point names it.
    yield "voxelized", lambda: print_of(cells, voxelized()[1][voxelized()[0]])
    for name in ("global_avg_pool", "global_max_pool"):
        yield name, lambda name=name: print_of(None, getattr(nn.functional, name)(x))

    def cropped():
        y = nn.functional.spcrop(x, (1, 1, 1), (5, 6, 7))
        return print_of(y.C, y.F)

    yield "cropped", cropped


if __name__ == "__main__":
    import torchsparse
    import torchsparse.nn.functional
    import torchsparse.nn.utils

    write(lambda: cases(torchsparse))
