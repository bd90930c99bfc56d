"""What a layer is given: any layout of memory and any large grid work, bad input is an error."""

import numpy as np
import pytest
import torch

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.spconv.pytorch.conv import SparseConvolution
from tests.compat.rows import ORDERS, tensor
from tests.compat.test_conv_modes import KINDS, layer_and_input

SHAPES = {
    "list": lambda s: list(s),
    "tuple": lambda s: tuple(s),
    "size": lambda s: torch.Size(s),
    "slice of a size": lambda s: torch.zeros(2, 3, *s).shape[2:],
    "array": lambda s: np.array(s),
    "array read backwards": lambda s: np.array(s[::-1], dtype=np.int64)[::-1],
    "list of numpy ints": lambda s: list(np.array(s, dtype=np.int32)),
    "tensor": lambda s: torch.tensor(s),
    "int32 tensor": lambda s: torch.tensor(s, dtype=torch.int32),
    "list of tensors": lambda s: list(torch.tensor(s)),
}


def layers(ndim: int = 3) -> list[spconv.SparseModule]:
    """One of every kind that reads a rulebook, and one that has a single tap."""
    conv, pool = getattr(spconv, f"SparseConv{ndim}d"), getattr(spconv, f"SparseMaxPool{ndim}d")
    subm = getattr(spconv, f"SubMConv{ndim}d")
    transposed = getattr(spconv, f"SparseConvTranspose{ndim}d")
    made = [subm(4, 5, 3), subm(4, 5, 1), conv(4, 5, 3, 2), transposed(4, 5, 3, 2), pool(2)]
    return [*made, spconv.SparseGlobalMaxPool(), spconv.ToDense()]


def remade(x: spconv.SparseConvTensor, **changed) -> spconv.SparseConvTensor:
    about = {"features": x.features, "indices": x.indices, "spatial_shape": x.spatial_shape}
    return spconv.SparseConvTensor(**{**about, "batch_size": x.batch_size, **changed})


def dense_of(y: spconv.SparseConvTensor | torch.Tensor) -> torch.Tensor:
    return y if isinstance(y, torch.Tensor) else y.dense()


@pytest.mark.parametrize("how", ["columns first", "every other row", "wider", "expanded"])
def test_indices_and_features_may_lie_in_memory_in_any_way(how):
    x = tensor(3, 40, 4)
    if how == "columns first":
        indices = x.indices.t().contiguous().t()
        features = x.features.t().contiguous().t()
    elif how == "every other row":
        indices = x.indices.repeat_interleave(2, 0)[::2]
        features = x.features.repeat_interleave(2, 0)[::2]
    elif how == "wider":
        indices = torch.cat([x.indices, x.indices], 1)[:, :4]
        features = torch.cat([x.features, x.features], 1)[:, :4]
    else:  # one place, read forty times
        x = remade(x, indices=x.indices[:1].repeat(40, 1))
        indices, features = x.indices[:1].expand(40, -1), x.features
    other = remade(x, indices=indices, features=features)
    assert not (indices.is_contiguous() and features.is_contiguous())
    for layer in layers():
        y, expected = layer(other), layer(x)
        torch.testing.assert_close(dense_of(y), dense_of(expected))
        assert isinstance(y, torch.Tensor) or torch.equal(y.indices, expected.indices)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_a_spatial_shape_comes_in_any_type_and_is_a_list_of_ints(kind, ndim):
    x = tensor(ndim, 20, 4)
    sides = [x.spatial_shape[0] + axis for axis in range(ndim)]
    y = remade(x, spatial_shape=SHAPES[kind](sides), batch_size=np.int64(3))
    assert y.spatial_shape == sides and type(y.spatial_shape) is list
    assert all(type(side) is int for side in [*y.spatial_shape, y.batch_size])
    assert type(y.spatial_shape[1:]) is list
    conv = getattr(spconv, f"SparseConv{ndim}d")(4, 5, 3, 2, 1)
    expected = conv(remade(x, spatial_shape=sides))
    assert conv(y).spatial_shape == expected.spatial_shape
    assert torch.equal(conv(y).features, expected.features)


def test_a_batch_size_may_be_a_tensor():
    x = tensor(2, 20, 4)
    y = remade(x, batch_size=torch.tensor(3))
    assert y.batch_size == 3 and y.dense().shape[0] == 3


@pytest.mark.parametrize(
    ("column", "value"), [(0, -1), (0, 3), (1, -1), (2, 5), (3, 100), (3, -(2**31)), (1, 2**31 - 1)]
)
def test_a_row_outside_the_grid_or_the_batch_is_an_error(column, value):
    x = tensor(3, 40, 4)
    x.indices[7, column] = value
    for layer in layers():
        with pytest.raises(ValueError, match=r"indices.*(batch|spatial_shape|32-bit)"):
            layer(x)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rows", [0, 1, 39, 200])
def test_another_number_of_features_than_of_indices_is_an_error(rows, order):
    x = tensor(3, 40, 4, order)
    for layer in layers():
        with pytest.raises(ValueError, match="rows"):
            layer(x.replace_feature(torch.randn(rows, 4)))


@pytest.mark.parametrize("layer", ["conv", "one tap"])
def test_other_channels_than_a_layer_was_built_for_are_an_error(layer):
    made = spconv.SubMConv3d(6, 5, 3 if layer == "conv" else 1)
    with pytest.raises(AssertionError, match=r"channel size mismatch.*4.*6"):
        made(tensor(3, 40, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_of_other_axes_than_the_layer_is_an_error(kind):
    layer, _ = layer_and_input(kind, 4, 5, tensor(2, 20, 4))
    _, x = layer_and_input(kind, 4, 5, tensor(3, 20, 4))
    with pytest.raises((ValueError, AssertionError)):
        layer(x)


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_another_type_than_the_weight_are_an_error_that_names_both(kind):
    layer, x = layer_and_input(kind, 4, 5, tensor(2, 20, 4))
    for dtype in (torch.float16, torch.float64):
        with pytest.raises(
            (TypeError, ValueError), match=rf"(?s){dtype}.*float32|float32.*{dtype}"
        ):
            layer(x.replace_feature(x.features.to(dtype)))


@pytest.mark.parametrize("kernel_size", [2, (3, 4, 3), (2, 1, 1)])
def test_a_submanifold_kernel_without_a_centre_is_an_error(kernel_size):
    layer = spconv.SubMConv3d(4, 5, kernel_size)
    with pytest.raises(RuntimeError, match="subm only support odd ksize"):
        layer(tensor(3, 20, 4))
    spconv.SubMConv3d(4, 5, (1, 3, 5))(tensor(3, 20, 4))


def test_what_is_no_sparse_tensor_is_an_error():
    for layer in (spconv.SubMConv3d(4, 5, 3), spconv.SparseMaxPool3d(2)):
        with pytest.raises(TypeError, match=r"Tensor; wanted a SparseConvTensor"):
            layer(torch.randn(5, 4))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"kernel_size": 1, "padding": 1}, AssertionError, "padding must be zero for 1x1 conv"),
        ({"kernel_size": (3, 3)}, AssertionError, "3 of them, one an axis"),
        ({"kernel_size": 3, "stride": (1, 2)}, AssertionError, "3 of them, one an axis"),
        ({"kernel_size": 3, "groups": 3}, ValueError, "in_channels is 4 with 3 groups"),
        ({"kernel_size": 3, "groups": 4}, ValueError, "out_channels is 6 with 4 groups"),
        ({"kernel_size": 3, "groups": 0}, ValueError, "groups"),
    ],
)
def test_a_layer_that_cannot_be_is_an_error(options, error, words):
    with pytest.raises(error, match=words):
        spconv.SparseConv3d(4, 6, **options)


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"dilation": 0}, {"padding": -1}, {"kernel_size": 0}]
)
def test_a_kernel_that_cannot_be_is_an_error_before_any_result(options):
    with pytest.raises((ValueError, AssertionError, RuntimeError)):
        spconv.SparseConv3d(4, 6, **{"kernel_size": 3, **options})(tensor(3, 20, 4))


def test_a_kernel_larger_than_the_grid_is_an_error_and_not_an_empty_result():
    with pytest.raises((ValueError, RuntimeError), match=r"spatial[_ ]shape"):
        spconv.SparseConv3d(4, 6, 7)(tensor(3, 20, 4))


def test_an_error_says_which_layer_of_a_network_it_comes_from():
    net = spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3), spconv.SparseSequential(spconv.SubMConv3d(5, 6, 3))
    )
    with pytest.raises(AssertionError, match=r"in layer 1\.0 \(SubMConv3d\): channel size"):
        net(tensor(3, 20, 4))


@pytest.mark.parametrize("side", [2**11, 2**16, 2**19])  # 2**34, 2**49 and 2**58 cells
@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_may_have_more_cells_than_an_int32_can_number(kind, side):
    small = tensor(3, 60, 4, side=16, batch=2)
    near = remade(small, indices=small.indices + torch.tensor([0, 4, 4, 4]).int())
    # The low 32 bits of a cell's number are the same half a grid further.
    step = torch.tensor([0, side // 2, 0, 0])
    both = remade(
        near,
        indices=torch.cat([near.indices, near.indices + step.int()]),
        features=torch.cat([near.features] * 2),
        spatial_shape=[side] * 3,
    )
    layer, _ = layer_and_input(kind, 4, 5, small)
    inputs = [remade(near, spatial_shape=[28] * 3), both]
    if kind == "SparseInverseConv":
        inputs = [spconv.SparseMaxPool3d(3, 2, 1, indice_key="key")(x) for x in inputs]
    expected, y = map(layer, inputs)
    scale = {"SparseConv": 0.5, "SparseConvTranspose": 2}.get(kind, 1)
    place = {tuple(row): i for i, row in enumerate(y.indices.tolist())}
    assert len(y.indices) == 2 * len(expected.indices)
    for moved in (expected.indices, expected.indices + (step * scale).int()):
        rows = [place[tuple(row)] for row in moved.tolist()]
        torch.testing.assert_close(y.features[rows], expected.features)


@pytest.mark.parametrize("kind", KINDS)
def test_a_grid_with_more_cells_than_a_key_can_number_is_an_error(kind):
    x = tensor(3, 20, 4)
    layer, _ = layer_and_input(kind, 4, 5, x)
    huge = remade(x, spatial_shape=[2**21] * 3)
    with pytest.raises(ValueError, match="63-bit"):
        layer_and_input(kind, 4, 5, huge)[1]
        layer(huge)


def test_an_output_grid_beyond_its_key_is_an_error_too():
    x = remade(tensor(3, 20, 4), spatial_shape=[2**20] * 3)
    layer = spconv.SparseConvTranspose3d(4, 5, 2, 2)
    with pytest.raises(ValueError, match="63-bit"):
        layer(x)


def test_gradients_of_no_rows_are_zero():
    for order in ORDERS:
        x = tensor(3, 0, 4, order)
        layer = SparseConvolution(3, 4, 5, 3, 2, 1)
        layer(x).features.sum().backward()
        assert not layer.weight.grad.any() and not layer.bias.grad.any()
