"""A layer that can't be made, or can't take its input, says why and what would do."""

import re

import pytest
import torch
from torch import nn

from gossamer import Cross, Geometry, KeyRangeError, NoBackendError, use_backend
from gossamer import nn as gnn
from gossamer.ops.conv import Epilogue
from tests.scenes import scene

LAYERS = {
    "kernel of zero": (lambda: gnn.SubMConv2d(4, 4, 0), ValueError, "kernel_size is"),
    "stride of zero": (lambda: gnn.SparseConv2d(4, 4, 3, 0), ValueError, "stride is"),
    "dilation of zero": (lambda: gnn.SparseConv2d(4, 4, 3, dilation=0), ValueError, "dilation is"),
    "negative padding": (lambda: gnn.SparseConv2d(4, 4, 3, 1, -1), ValueError, "padding is"),
    "even submanifold": (lambda: gnn.SubMConv2d(4, 4, 2), ValueError, "needs a centre, so an odd"),
    "even cross": (lambda: gnn.SparseConv2d(4, 4, Cross(2)), ValueError, "cross kernel needs"),
    "strided submanifold": (lambda: gnn.SubMConv2d(4, 4, 3, 2), ValueError, "keeps its sites"),
    "fractional kernel": (lambda: gnn.SubMConv2d(4, 4, 3.0), TypeError, "kernel_size is 3.0"),
    "kernel of another dimension": (
        lambda: gnn.SubMConv2d(4, 4, (3, 3, 3)),
        ValueError,
        "2 of them, one an axis",
    ),
    "offsets of another dimension": (
        lambda: gnn.SubMConv2d(4, 4, [(0, 0), (1,)]),
        ValueError,
        "2 ints each",
    ),
    "fractional offset": (lambda: gnn.SubMConv2d(4, 4, [(0, 0.5)]), ValueError, "2 ints each"),
    "repeated offset": (lambda: gnn.SubMConv2d(4, 4, [(0, 1), (0, 1)]), ValueError, "once"),
    "groups": (lambda: gnn.SubMConv2d(4, 6, 3, groups=4), ValueError, "6 with 4 groups"),
    "no channels": (lambda: gnn.SubMConv2d(0, 6, 3), ValueError, "in_channels is 0"),
    "unknown kind": (lambda: Geometry.of("dense", 2, 3), ValueError, "wanted one of 'submanifold'"),
    "unknown downsample": (
        lambda: gnn.SparseConv2d(4, 4, 3, downsample="torch"),
        ValueError,
        "'spconv', 'minkowski'",
    ),
    "channels": (lambda: gnn.SubMConv2d(5, 4, 3)(scene(2)), ValueError, "4 channels.*built for 5"),
    "residual of two widths": (
        lambda: gnn.Residual(gnn.SubMConv2d(4, 6, 3))(scene(2)),
        ValueError,
        "around makes 4 channels and body 6",
    ),
    "dimension": (
        lambda: gnn.SubMConv3d(4, 4, 3)(scene(2)),
        ValueError,
        "2 spatial axes.*made for 3",
    ),
    "empty output": (
        lambda: gnn.SparseConv2d(4, 4, 9)(scene(2)),
        ValueError,
        r"output would be empty: spatial_shape \(8, 8\).*more padding",
    ),
    "empty pool": (lambda: gnn.SparseMaxPool2d(9)(scene(2)), ValueError, "output would be empty"),
    "dtypes": (
        lambda: gnn.SubMConv2d(4, 4, 3)(scene(2).double()),
        TypeError,
        r"x is torch.float64 on cpu and weight is torch.float32.*\.to\(\)",
    ),
    "nowhere to go back to": (
        lambda: gnn.SparseInverseConv2d(4, 4, 3)(scene(2)),
        ValueError,
        "not made by a strided",
    ),
    "unpooling nothing": (
        lambda: gnn.SparseMaxUnpool()(scene(2)),
        ValueError,
        "not made by a strided",
    ),
    "another kernel back": (
        lambda: nn.Sequential(gnn.SparseConv2d(4, 4, 3, 2), gnn.SparseInverseConv2d(4, 4, 2))(
            scene(2)
        ),
        ValueError,
        "9 taps",
    ),
    "another stride back": (
        lambda: nn.Sequential(gnn.SparseConv2d(4, 4, 3, 2), gnn.SparseInverseConv2d(4, 4, 3, 3))(
            scene(2)
        ),
        ValueError,
        "stride is .3, 3.",
    ),
    "norm groups": (lambda: gnn.GroupNorm(3, 4), ValueError, "num_channels is 4"),
    "norm channels": (lambda: gnn.BatchNorm(5)(scene(2)), (ValueError, RuntimeError), "5"),
    "too far a kernel": (
        lambda: gnn.SubMConv2d(4, 4, [(2**31, 0)])(scene(2)),
        KeyRangeError,
        "32-bit",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_bad_layer_is_an_error_that_says_what_came_and_what_was_wanted(backend, name):
    act, error, words = LAYERS[name]
    with pytest.raises(error, match=re.compile(words, re.DOTALL)):
        act()


def test_a_fused_convolution_does_not_drop_a_gradient_in_silence():
    x, layer = scene(2), gnn.SubMConv2d(4, 6, 3).requires_grad_(False)
    wants, then = x.with_features(x.features.requires_grad_()), Epilogue(activation="relu")
    with pytest.raises(ValueError, match=r"fused convolution has none.*torch.no_grad\(\)"):
        layer.multiplied(wants, then)
    with torch.no_grad():
        assert layer.multiplied(wants, then).features.shape == (len(x), 6)


def test_an_error_inside_a_model_names_the_layer():
    model = nn.Sequential(
        gnn.SubMConv2d(4, 6, 3), nn.Sequential(gnn.ReLU(), gnn.SubMConv2d(5, 6, 3))
    )
    with pytest.raises(ValueError, match=r"in layer 1\.1 \(SubMConv2d\): .*6 channels"):
        model(scene(2))


def test_a_backend_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="'reference', 'numba', 'triton'"), use_backend("cuda"):
        pass
    with pytest.raises(NoBackendError, match="triton"), use_backend("triton"):
        gnn.SubMConv2d(4, 4, 3)(scene(2))


def test_an_error_leaves_the_process_able_to_go_on(backend):
    x = scene(2)
    expected = gnn.SparseSumPool2d(2)(x).features
    for act, error, _ in LAYERS.values():
        with pytest.raises(error):
            act()
    assert torch.equal(gnn.SparseSumPool2d(2)(scene(2)).features, expected)
