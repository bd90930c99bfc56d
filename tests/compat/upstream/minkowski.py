"""Cases for MinkowskiEngine 0.5, in its own words."""

import operator
from collections.abc import Iterator
from itertools import product

import torch
from torch import nn

from tests.compat.upstream.fingerprint import Case, print_of, random, sites, write

POOLINGS = ("MinkowskiSumPooling", "MinkowskiAvgPooling", "MinkowskiMaxPooling")
GLOBAL = tuple(f"MinkowskiGlobal{kind}Pooling" for kind in ("Sum", "Avg", "Max", ""))
BROADCASTS = tuple(
    f"MinkowskiBroadcast{k}" for k in ("", "Addition", "Multiplication", "Concatenation")
)
MODES = ("UNWEIGHTED_AVERAGE", "UNWEIGHTED_SUM")


def cases(ME) -> Iterator[Case]:
    """Every case of the library `ME`, by name."""
    for ndim in (1, 2, 3):
        for make in (convolutions, transposed, pools, samples, arithmetic, places, fields):
            yield from ((f"{ndim}D {name}", case) for name, case in make(ME, ndim))


def tensor(ME, seed: int, ndim: int, stride: int = 1):
    """A tensor of 3 channels, and its features."""
    rows = sites(seed, ndim, -4, 4, 2)
    rows[:, 1:] *= stride
    features = random(seed + 1, len(rows), 3).requires_grad_()
    return ME.SparseTensor(features, coordinates=rows, tensor_stride=stride), features


def filled(layer: nn.Module, seed: int) -> nn.Module:
    """The layer with other parameters, in float64."""
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = random(seed + number, *parameter.shape)
    return layer.double()


def told(layer, x, features) -> list[float]:
    y = layer(x)
    return [*y.tensor_stride, *print_of(y.C, y.F, features, *layer.parameters())]


def convolutions(ME, ndim: int) -> Iterator[Case]:
    every = product((1, 2, 3, 4, 5), (1, 2, 3), (1, 2), (1, 2))
    for seed, (size, stride, dilation, tensor_stride) in enumerate(every):
        # With one tap the library forgets the stride where there is one axis.
        if ndim == size == 1 and stride > 1:
            continue

        def plain(seed=seed, size=size, stride=stride, dilation=dilation, ts=tensor_stride):
            shape = {"kernel_size": size, "stride": stride, "dilation": dilation, "dimension": ndim}
            layer = filled(ME.MinkowskiConvolution(3, 4, bias=True, **shape), seed)
            return told(layer, *tensor(ME, seed, ndim, ts))

        yield f"convolution k{size} s{stride} d{dilation} on {tensor_stride}", plain
    for size in (2, 3):

        def channelwise(size=size):
            layer = ME.MinkowskiChannelwiseConvolution(
                3, kernel_size=size, stride=2, dimension=ndim
            )
            return told(filled(layer, size), *tensor(ME, size, ndim))

        def expanded(stride=size - 1):
            shape = {"kernel_size": 3, "stride": stride, "dimension": ndim}
            layer = ME.MinkowskiConvolution(3, 4, expand_coordinates=True, **shape)
            return told(filled(layer, 5), *tensor(ME, 5, ndim))

        yield f"channelwise k{size}", channelwise
        yield f"expanded s{size - 1}", expanded

    def cross():
        region = ME.RegionType.HYPER_CROSS
        generator = ME.KernelGenerator(kernel_size=3, region_type=region, dimension=ndim)
        shape = {"kernel_size": 3, "kernel_generator": generator, "dimension": ndim}
        return told(filled(ME.MinkowskiConvolution(3, 4, **shape), 6), *tensor(ME, 6, ndim))

    yield "cross", cross


def transposed(ME, ndim: int) -> Iterator[Case]:
    kinds = ("MinkowskiConvolutionTranspose", "MinkowskiGenerativeConvolutionTranspose")
    sizes = ((2, 2), (3, 2), (3, 3), (2, 1), (3, 1), (4, 2))
    for seed, (kind, (size, stride), fresh) in enumerate(product(kinds, sizes, (False, True))):

        def case(seed=seed, kind=kind, size=size, stride=stride, fresh=fresh):
            x, features = tensor(ME, seed, ndim, stride if fresh else 1)
            if not fresh:
                down = ME.MinkowskiConvolution(3, 3, kernel_size=2, stride=stride, dimension=ndim)
                x = filled(down, seed)(x)
            shape = {"kernel_size": size, "stride": stride, "dimension": ndim}
            return told(filled(getattr(ME, kind)(3, 4, bias=True, **shape), seed), x, features)

        yield f"{kind} k{size} s{stride} {'of new sites' if fresh else 'back'}", case


def pools(ME, ndim: int) -> Iterator[Case]:
    for kind, size, stride in product(POOLINGS, (2, 3), (1, 2)):

        def case(kind=kind, size=size, stride=stride):
            layer = getattr(ME, kind)(kernel_size=size, stride=stride, dimension=ndim)
            return told(layer, *tensor(ME, size + stride, ndim))

        yield f"{kind} k{size} s{stride}", case
    for size in (2, 3):

        def back(size=size):
            x, features = tensor(ME, size, ndim)
            y = ME.MinkowskiSumPooling(2, 2, dimension=ndim)(x)
            layer = ME.MinkowskiPoolingTranspose(kernel_size=size, stride=2, dimension=ndim)
            return told(layer, y, features)

        yield f"MinkowskiPoolingTranspose k{size}", back


def samples(ME, ndim: int) -> Iterator[Case]:
    """What is done to each sample as a whole."""
    for kind in GLOBAL:
        yield kind, lambda kind=kind: told(getattr(ME, kind)(), *tensor(ME, 1, ndim))
    for kind in BROADCASTS:

        def case(kind=kind):
            x, features = tensor(ME, 2, ndim)
            y = getattr(ME, kind)()(x, ME.MinkowskiGlobalAvgPooling()(x))
            return print_of(y.C, y.F, features)

        yield kind, case
    for kind in ("MinkowskiInstanceNorm", "MinkowskiBatchNorm"):
        yield (
            kind,
            lambda kind=kind: told(filled(getattr(ME, kind)(3), 3), *tensor(ME, 3, ndim)),
        )


def arithmetic(ME, ndim: int) -> Iterator[Case]:
    def both(seed):
        x, features = tensor(ME, seed, ndim)
        rows, manager = sites(seed + 9, ndim, -4, 4, 2), x.coordinate_manager
        other = random(seed + 8, len(rows), 3)
        return x, ME.SparseTensor(other, coordinates=rows, coordinate_manager=manager), features

    for name in ("add", "sub", "mul", "truediv"):

        def case(name=name):
            x, y, features = both(4)
            z = getattr(operator, name)(x, y)
            return print_of(z.C, z.F, features)

        yield name, case

    def union():
        x, y, features = both(5)
        z = ME.MinkowskiUnion()(x, y)
        return print_of(z.C, z.F, features)

    def pruned():
        x, features = tensor(ME, 6, ndim)
        y = ME.MinkowskiPruning()(x, x.C.sum(1) % 2 == 0)
        return print_of(y.C, y.F, features)

    yield "union", union
    yield "pruned", pruned
    for mode in MODES:

        def quantized(mode=mode):
            rows = sites(7, ndim, -4, 4, 2)
            rows = torch.cat([rows, rows[:20]])
            features = random(7, len(rows), 3).requires_grad_()
            how = getattr(ME.SparseTensorQuantizationMode, mode)
            x = ME.SparseTensor(features, coordinates=rows, quantization_mode=how)
            return print_of(x.C, x.F, features)

        yield mode, quantized


def places(ME, ndim: int) -> Iterator[Case]:
    """Features between sites, onto given sites and on a grid."""

    def points():
        places = torch.rand(40, ndim, dtype=torch.float64).mul(8).sub(4)
        return torch.cat([torch.arange(40).remainder(2).double().unsqueeze(1), places], 1)

    def interpolated(stride):
        torch.manual_seed(0)
        x, features = tensor(ME, 8, ndim)
        if stride > 1:
            x = ME.MinkowskiSumPooling(stride, stride, dimension=ndim)(x)
        return print_of(None, ME.MinkowskiInterpolation()(x, points()), features)

    def onto():
        x, features = tensor(ME, 9, ndim)
        rows, manager = sites(10, ndim, -4, 4, 2, 30), x.coordinate_manager
        target = ME.SparseTensor(random(0, len(rows), 1), rows, coordinate_manager=manager)
        layer = filled(ME.MinkowskiConvolution(3, 4, kernel_size=3, dimension=ndim), 9)
        y = layer(x, target.coordinate_map_key)
        return print_of(y.C, y.F, features, *layer.parameters())

    def dense():
        x, features = tensor(ME, 11, ndim)
        grid, _, _ = x.dense(min_coordinate=torch.IntTensor([-4] * ndim))
        return [*map(float, grid.shape), *print_of(None, grid, features)]

    for stride in (1, 2):
        yield f"interpolated on {stride}", lambda stride=stride: interpolated(stride)
    yield "onto given sites", onto
    yield "dense", dense


def fields(ME, ndim: int) -> Iterator[Case]:
    def field():
        torch.manual_seed(1)
        places = torch.rand(80, ndim, dtype=torch.float64).mul(6).sub(3)
        rows = torch.cat([torch.arange(80).remainder(2).double().unsqueeze(1), places], 1)
        features = random(12, 80, 3).requires_grad_()
        return ME.TensorField(features, coordinates=rows), features

    def sparse():
        x, features = field()
        y = x.sparse()
        return print_of(y.C, y.F, features)

    def splat():
        x, features = field()
        y = x.splat()
        return print_of(y.C, y.F, features)

    yield "sparse", sparse
    yield "splat", splat
    for name in ("slice", "cat_slice", "interpolate"):

        def sliced(name=name):
            x, features = field()
            layer = filled(ME.MinkowskiConvolution(3, 4, kernel_size=3, dimension=ndim), 12)
            y = getattr(layer(x.sparse()), name)(x)
            return print_of(None, y.F, features, *layer.parameters())

        yield name, sliced


if __name__ == "__main__":
    import MinkowskiEngine

    write(lambda: cases(MinkowskiEngine))
