"""One network in the words of five libraries: gossamer's own and four that it stands in for.

Coordinates are those of the finest grid in every answer, so that sites can be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import gossamer
import gossamer.nn as gnn
from gossamer.compat import minkowski as me
from gossamer.compat import torchsparse, torchsparse14
from gossamer.compat.spconv import pytorch as spconv
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse14 import nn as spnn14


@dataclass(frozen=True)
class Dialect:
    """How one library says it.

    Args:
        tensor: from features [N, C] and coordinates [N, 4], batch first.
        read: coordinates [N, 4], batch first, in cells of the finest grid, and features.
        same: a layer (C_in, C_out, kernel_size) that keeps the sites.
        down: a layer (C_in, C_out, kernel_size, stride, padding) onto a coarser grid.
        up: a layer (C_in, C_out, kernel_size, stride) back to where `down` came from.
        relu: a function of a tensor.
        cat: the channels of two tensors.
    """

    tensor: Callable[[Tensor, Tensor], Any]
    read: Callable[[Any], tuple[Tensor, Tensor]]
    same: Callable[..., nn.Module]
    down: Callable[..., nn.Module]
    up: Callable[..., nn.Module]
    relu: Callable[[Any], Any]
    cat: Callable[[list], Any]


def native(downsample: str = "spconv") -> Dialect:
    def down(inputs, outputs, size, stride, padding):
        return gnn.SparseConv3d(inputs, outputs, size, stride, padding, downsample=downsample)

    def read(x):
        scale = torch.tensor([1, *x.stride])
        return x.coords * scale, x.features

    return Dialect(
        lambda features, coords: gossamer.SparseTensor(features, coords, shape_of(coords)),
        read,
        gnn.SubMConv3d,
        down,
        lambda inputs, outputs, size, stride: gnn.SparseInverseConv3d(inputs, outputs, size),
        gnn.ReLU(),
        gossamer.cat,
    )


def in_spconv() -> Dialect:
    def read(x):
        stride = getattr(x, "grid_stride", 1)
        return x.indices * torch.tensor([1, stride, stride, stride]), x.features

    class Down(spconv.SparseConv3d):
        def forward(self, x):
            y = super().forward(x)
            y.grid_stride = getattr(x, "grid_stride", 1) * self.stride[0]
            return y

    class Up(spconv.SparseInverseConv3d):
        def forward(self, x):
            y = super().forward(x)
            y.grid_stride = 1
            return y

    def cat(tensors):
        return tensors[0].replace_feature(torch.cat([x.features for x in tensors], 1))

    return Dialect(
        lambda features, coords: spconv.SparseConvTensor(
            features, coords, shape_of(coords), int(coords[:, 0].max()) + 1
        ),
        read,
        spconv.SubMConv3d,
        partial(Down, indice_key="down"),
        lambda inputs, outputs, size, stride: Up(inputs, outputs, size, indice_key="down"),
        lambda x: x.replace_feature(x.features.relu()),
        cat,
    )


def in_torchsparse(kmap_mode: str = "hashmap_on_the_fly", downsample: str = "spconv") -> Dialect:
    config = spnn.functional.conv_config.get_default_conv_config()
    config.kmap_mode, config.downsample_mode = kmap_mode, downsample
    conv = partial(spnn.Conv3d, bias=True, config=config)

    def read(x):
        return x.C * torch.tensor([1, *x.s]), x.F

    return Dialect(
        lambda features, coords: torchsparse.SparseTensor(features, coords),
        read,
        conv,
        conv,
        partial(conv, transposed=True),
        spnn.ReLU(),
        torchsparse.cat,
    )


def in_torchsparse14() -> Dialect:
    conv = partial(spnn14.Conv3d, bias=True)
    return Dialect(
        lambda features, coords: torchsparse14.SparseTensor(features, coords[:, [1, 2, 3, 0]]),
        lambda x: (x.C[:, [3, 0, 1, 2]], x.F),
        conv,
        lambda inputs, outputs, size, stride, padding: conv(inputs, outputs, size, stride),
        partial(conv, transposed=True),
        spnn14.ReLU(),
        torchsparse14.cat,
    )


def in_minkowski() -> Dialect:
    conv = partial(me.MinkowskiConvolution, bias=True, dimension=3)
    return Dialect(
        me.SparseTensor,
        lambda x: (x.C, x.F),
        lambda inputs, outputs, size: conv(inputs, outputs, kernel_size=size),
        lambda inputs, outputs, size, stride, padding: conv(
            inputs, outputs, kernel_size=size, stride=stride
        ),
        lambda inputs, outputs, size, stride: me.MinkowskiConvolutionTranspose(
            inputs, outputs, kernel_size=size, stride=stride, bias=True, dimension=3
        ),
        me.MinkowskiReLU(),
        lambda tensors: me.cat(*tensors),
    )


class Net(nn.Module):
    """Submanifold, residual, strided, transposed and pointwise layers.

    Args:
        say: the library's words.
        size: of the strided kernel and the one that leads back.
        padding: of the strided one, where the library knows padding.
    """

    def __init__(self, say: Dialect, size: int, padding: int):
        super().__init__()
        self.say = say
        self.stem = say.same(3, 8, 3)
        self.first = say.same(8, 8, 3)
        self.second = say.same(8, 8, 3)
        self.down = say.down(8, 16, size, 2, padding)
        self.middle = say.same(16, 16, 3)
        self.up = say.up(16, 8, size, 2)
        self.head = say.same(16, 5, 1)

    def forward(self, features: Tensor, coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates and features at the end, and the coordinates half way."""
        x = self.say.relu(self.stem(self.say.tensor(features, coords)))
        x = self.say.relu(self.second(self.say.relu(self.first(x))) + x)
        y = self.say.relu(self.down(x))
        back = self.up(self.middle(y))
        return *self.say.read(self.head(self.say.cat([back, x]))), self.say.read(y)[0]


def shape_of(coords: Tensor) -> list[int]:
    return (coords[:, 1:].amax(0) + 1).tolist()
