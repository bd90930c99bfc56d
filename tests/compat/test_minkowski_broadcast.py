"""Broadcasts: what a sample has as a whole, at each of its sites."""

import pytest
import torch

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.utils.gradcheck import gradcheck
from tests.compat.clouds_of_sites import cloud, field
from tests.compat.test_minkowski_norm import on

COUNTS = [(20, 13), (7,), (9, 0, 6)]
OPERATIONS = {
    ME.MinkowskiBroadcastAddition: lambda rows, vector: rows + vector,
    ME.MinkowskiBroadcastMultiplication: lambda rows, vector: rows * vector,
    ME.MinkowskiBroadcast: lambda rows, vector: vector.expand(len(rows), -1),
    ME.MinkowskiBroadcastConcatenation: lambda rows, vector: torch.cat(
        [rows, vector.expand(len(rows), -1)], dim=1
    ),
}


def pooled(x: ME.SparseTensor) -> ME.SparseTensor:
    """A row a sample."""
    return ME.MinkowskiGlobalSumPooling()(x)


@pytest.mark.parametrize("layer", OPERATIONS)
@pytest.mark.parametrize("counts", COUNTS)
def test_each_site_meets_what_its_sample_has(layer, counts):
    x = cloud(counts)
    whole = pooled(x)
    y = layer()(x, whole)
    assert torch.equal(y.C, x.C)
    for sample in range(len(counts)):
        rows = x.C[:, 0] == sample
        if rows.any():
            vector = x.F[rows].sum(0)
            torch.testing.assert_close(y.F[rows], OPERATIONS[layer](x.F[rows], vector))


@pytest.mark.parametrize("layer", OPERATIONS)
def test_rows_keep_the_order_of_the_caller_behind_a_convolution(layer):
    x, conv = cloud(), ME.MinkowskiConvolution(4, 4, 3, dimension=3)
    whole = pooled(x)
    torch.testing.assert_close(layer()(conv(x), whole).F, layer()(on(x, conv(x).F), whole).F)


@pytest.mark.parametrize("layer", OPERATIONS)
def test_the_order_of_the_global_rows_does_not_matter(layer):
    x = cloud((6, 5, 4))
    whole = pooled(x)
    turned = ME.SparseTensor(whole.F.flip(0), whole.C.flip(0).contiguous())
    torch.testing.assert_close(layer()(x, turned).F, layer()(x, whole).F)


@pytest.mark.parametrize("layer", OPERATIONS)
def test_a_sample_without_a_global_row_is_an_error(layer):
    x, other = cloud((6, 5, 4)), cloud((6,))
    with pytest.raises(ValueError, match=r"samples \[1, 2\] have sites and no global row"):
        layer()(x, pooled(other))


@pytest.mark.parametrize("layer", OPERATIONS)
def test_a_broadcast_onto_no_sites_has_none(layer):
    x = cloud((0,))
    assert len(layer()(x, pooled(x))) == 0


@pytest.mark.parametrize("layer", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_broadcast_keeps_the_dtype(layer, dtype):
    x = cloud(dtype=dtype)
    y = layer()(x, pooled(x))
    assert y.F.dtype == dtype
    wide = on(x, x.F.double())
    torch.testing.assert_close(y.F.double(), layer()(wide, pooled(wide)).F, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("layer", OPERATIONS)
def test_a_broadcast_has_gradients_of_both_orders(layer):
    x = cloud((4, 0, 3), channels=2, dtype=torch.float64)
    whole = pooled(x)
    inputs = x.F.clone().requires_grad_(), whole.F.clone().requires_grad_()

    def forward(f, g):
        return layer()(on(x, f), on(whole, g)).F

    assert torch.autograd.gradcheck(forward, inputs)
    assert torch.autograd.gradgradcheck(forward, inputs)


@pytest.mark.parametrize("mode", ME.BroadcastMode)
def test_a_broadcast_as_a_function_is_the_layer(mode):
    x = cloud((4, 3), channels=2, dtype=torch.float64)
    whole = pooled(x)
    keys = x.coordinate_map_key, whole.coordinate_map_key, x.coordinate_manager
    function = ME.MinkowskiBroadcastFunction()
    inputs = x.F.clone().requires_grad_(), whole.F.clone().requires_grad_(), mode, *keys
    assert gradcheck(function, inputs)
    plus = mode == ME.BroadcastMode.ELEMENTWISE_ADDITON
    layer = ME.MinkowskiBroadcastAddition() if plus else ME.MinkowskiBroadcastMultiplication()
    assert layer.operation_type == mode
    torch.testing.assert_close(function.apply(*inputs), layer(x, whole).F)


def test_other_channels_are_an_error():
    x, other = cloud(channels=4), cloud(channels=1)
    with pytest.raises(ValueError, match="input has 4 channels and input_glob 1"):
        ME.MinkowskiBroadcastMultiplication()(x, pooled(other))


@pytest.mark.parametrize("layer", OPERATIONS)
def test_arguments_may_be_named(layer):
    x = cloud()
    named = layer()(input=x, input_glob=pooled(x))
    assert torch.equal(named.F, layer()(x, pooled(x)).F)


@pytest.mark.parametrize("layer", OPERATIONS)
def test_a_field_is_an_error(layer):
    with pytest.raises(AssertionError, match="input is TensorField; wanted a SparseTensor"):
        layer()(field(), pooled(cloud()))
    assert repr(layer()) == layer.__name__


def test_an_operation_of_another_kind_is_an_error():
    with pytest.raises(AssertionError, match="wanted a BroadcastMode"):
        ME.MinkowskiBroadcastFunction.apply(None, None, "add", None, None, None)


@pytest.mark.parametrize("layer", OPERATIONS)
def test_several_global_rows_of_a_sample_are_an_error(layer):
    x = cloud((6, 5, 4))
    with pytest.raises(ValueError, match=r"several rows for the samples \[0, 1, 2\]"):
        layer()(x, x)
