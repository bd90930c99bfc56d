"""MinkowskiOps and spmm: tensors put together, made sparse and dense, and sparse matrices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gossamer.compat.minkowski as ME
from gossamer.compat.minkowski.utils.gradcheck import gradcheck
from tests.compat.clouds_of_sites import cloud, field
from tests.compat.test_minkowski_norm import on

JOINS = {
    "cat": lambda features: torch.cat(features, dim=1),
    "sum": lambda features: torch.stack(features).sum(0),
    "mean": lambda features: torch.stack(features).mean(0),
    "var": lambda features: torch.stack(features).var(0, unbiased=False),
}
STACKS = {name: getattr(ME, f"MinkowskiStack{name.capitalize()}") for name in JOINS}


def others(x, count):
    """Tensors on the rows of `x`, `x` first."""
    return [x, *(on(x, torch.randn_like(x.F)) for _ in range(count - 1))]


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("count", [2, 3])
def test_tensors_on_the_same_rows_are_put_together(name, count):
    tensors = others(cloud(), count)
    expected = JOINS[name]([x.F for x in tensors])
    for y in (getattr(ME, name)(*tensors), getattr(ME, name)(tensors)):
        torch.testing.assert_close(y.F, expected)
        assert y.coordinate_map_key == tensors[0].coordinate_map_key
    assert torch.equal(tensors[0].F, cloud().F)


@pytest.mark.parametrize("name", JOINS)
def test_rows_of_another_order_and_key_are_brought_into_that_of_the_first(name):
    x = cloud()
    order = torch.randperm(len(x))
    same = ME.SparseTensor(x.F[order], x.C[order], coordinate_manager=x.coordinate_manager)
    apart = ME.SparseTensor(x.F[order], x.C[order])
    assert same.coordinate_map_key != x.coordinate_map_key
    for other in (same, apart):
        y = getattr(ME, name)(x, other)
        assert torch.equal(y.C, x.C)
        torch.testing.assert_close(y.F, JOINS[name]([x.F, x.F]))


@pytest.mark.parametrize("name", JOINS)
def test_what_a_layer_made_and_what_the_caller_gave_are_put_together(name):
    x, conv = cloud(), ME.MinkowskiConvolution(4, 4, 3, dimension=3)
    other = on(x, x.F + 1)
    expected = JOINS[name]([x.F, other.F, conv(x).F])
    torch.testing.assert_close(getattr(ME, name)(x, other, conv(x)).F, expected)
    expected = JOINS[name]([conv(x).F, x.F, other.F])
    torch.testing.assert_close(getattr(ME, name)(conv(x), x, other).F, expected)


LAYERS = {
    "batch norm": ME.MinkowskiBatchNorm(4),
    "frozen batch norm": ME.MinkowskiBatchNorm(4).eval(),
    "instance norm": ME.MinkowskiInstanceNorm(4),
    "activation": ME.MinkowskiReLU(inplace=True),
    "function": ME.MinkowskiFunctional.tanh,
    "linear": ME.MinkowskiLinear(4, 2),
    "sum": lambda x: ME.sum(x, x),
    "broadcast": lambda x: ME.MinkowskiBroadcastAddition()(x, ME.MinkowskiGlobalSumPooling()(x)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_are_put_into_the_callers_order_only_when_he_looks(name):
    y = LAYERS[name](ME.MinkowskiConvolution(4, 4, 3, dimension=3)(cloud()))
    assert y._values.rows is y._map.rows


@pytest.mark.parametrize("name", JOINS)
def test_other_sites_are_an_error(name):
    x = cloud()
    for other in (cloud(seed=5), cloud((20,)), ME.MinkowskiConvolution(4, 4, 3, 2, dimension=3)(x)):
        with pytest.raises(AssertionError, match="different"):
            getattr(ME, name)(x, other)


@pytest.mark.parametrize("name", JOINS)
def test_fields_on_the_same_points_are_put_together(name):
    x = field()
    y = ME.MinkowskiFunctional.tanh(x)
    z = getattr(ME, name)(x, y)
    assert isinstance(z, ME.TensorField)
    torch.testing.assert_close(z.F, JOINS[name]([x.F, y.F]))
    with pytest.raises(AssertionError):
        getattr(ME, name)(x, field((5, 4)))


@pytest.mark.parametrize("name", JOINS)
def test_what_can_not_be_put_together_is_an_error(name):
    join, x = getattr(ME, name), cloud()
    with pytest.raises(AssertionError, match="got 1 tensors; wanted two or more"):
        join([x])
    with pytest.raises(AssertionError, match="got one SparseTensor; wanted two tensors or more"):
        join(x)
    with pytest.raises(ValueError, match="got Tensor; wanted SparseTensors"):
        join(x.F, x.F)
    with pytest.raises(AssertionError, match="SparseTensor and TensorField; wanted one class"):
        join(x, field())


@pytest.mark.parametrize("name", JOINS)
def test_gradients_reach_all_that_is_put_together(name):
    x = cloud((3, 2), channels=2, dtype=torch.float64)
    order = torch.randperm(5)
    turned = ME.SparseTensor(x.F[order], x.C[order])
    inputs = [torch.randn(5, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def forward(f, g):
        return getattr(ME, name)(on(x, f), on(turned, g)).F

    assert torch.autograd.gradcheck(forward, inputs)


@pytest.mark.parametrize("name", JOINS)
def test_a_stack_puts_together_what_its_layers_make(name):
    x = cloud()
    layers = [ME.MinkowskiConvolution(4, 5, 3, dimension=3), ME.MinkowskiLinear(4, 5)]
    y = STACKS[name](*layers)(x)
    torch.testing.assert_close(y.F, JOINS[name]([layer(x).F for layer in layers]))


@pytest.mark.parametrize("make", [cloud, field])
def test_a_linear_layer_is_torchs(make):
    x, layer = make(), ME.MinkowskiLinear(4, 3)
    assert set(layer.state_dict()) == {"linear.weight", "linear.bias"}
    torch.testing.assert_close(layer(x).F, layer.linear(x.F))
    assert repr(layer) == "MinkowskiLinear(in_features=4, out_features=3, bias=True)"
    assert set(ME.MinkowskiLinear(4, 3, bias=False).state_dict()) == {"linear.weight"}


def test_a_linear_layer_refuses_other_channels():
    with pytest.raises(ValueError, match="the input has 4 channels; this layer was built for 8"):
        ME.MinkowskiLinear(8, 3)(cloud())


def test_a_linear_layer_follows_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ME.MinkowskiLinear(4, 3)(cloud()).F.dtype == torch.bfloat16


@pytest.mark.parametrize("make", [cloud, field])
def test_features_are_what_comes_out_at_the_end(make):
    x = make()
    assert torch.equal(ME.MinkowskiToFeature()(x), x.F)
    with pytest.raises(AssertionError, match="input is Tensor"):
        ME.MinkowskiToFeature()(x.F)


def with_zeros(*shape, dtype=torch.float32):
    """A dense tensor where half of the cells are zero, and others in some channels."""
    dense = torch.randn(*shape, dtype=dtype) * (torch.rand(*shape) < 0.7)
    return dense * (torch.rand(shape[0], 1, *shape[2:]) < 0.5)


@pytest.mark.parametrize("shape", [(3, 4, 9), (2, 3, 4, 5), (2, 1, 3, 4, 5)])
def test_dense_becomes_sparse_and_dense_again(shape):
    dense = with_zeros(*shape)
    for x in (ME.to_sparse(dense), ME.MinkowskiToSparseTensor()(dense)):
        assert len(x) == (dense != 0).any(1).sum()
        assert torch.equal(ME.MinkowskiToDenseTensor(dense.shape)(x), dense)
    every = ME.MinkowskiToSparseTensor(remove_zeros=False)
    for x in (ME.to_sparse_all(dense), every(dense)):
        assert len(x) == dense[:, 0].numel()
        assert torch.equal(ME.MinkowskiToDenseTensor(dense.shape)(x), dense)


@pytest.mark.parametrize("format", ["BXXC", "BXCX", "BCXX"])
def test_the_channel_axis_may_be_anywhere(format):
    dense = with_zeros(2, 3, 4, 5)
    x = ME.to_sparse(dense.movedim(1, format.index("C")), format=format)
    assert torch.equal(ME.MinkowskiToDenseTensor(dense.shape)(x), dense)


@pytest.mark.parametrize("format", ["XBCX", "BBCX", "BCCX", "BCX", "BXXX", "BCXY"])
def test_a_format_that_does_not_fit_is_an_error(format):
    with pytest.raises(AssertionError, match="wanted a letter an axis"):
        ME.to_sparse(torch.randn(2, 3, 4, 5), format=format)


@pytest.mark.parametrize("make", [ME.to_sparse, ME.to_sparse_all, ME.MinkowskiToSparseTensor()])
def test_a_dense_tensor_needs_an_axis_of_space(make):
    with pytest.raises(AssertionError, match="got 2 axes"):
        make(torch.randn(2, 3))


def test_given_coordinates_are_taken_zero_or_not():
    dense = with_zeros(2, 3, 4, 5)
    cells = torch.tensor([[1, 0, 3], [0, 2, 2], [0, 0, 0]]).int()
    made = [
        ME.to_sparse(dense, coordinates=cells),
        ME.to_sparse_all(dense, cells),
        ME.MinkowskiToSparseTensor(coordinates=cells)(dense),
        ME.MinkowskiToSparseTensor(remove_zeros=False, coordinates=cells)(dense),
    ]
    for x in made:
        assert torch.equal(x.C, cells)
        expected = torch.stack([dense[b, :, i, j] for b, i, j in cells.tolist()])
        assert torch.equal(x.F, expected)


@pytest.mark.parametrize("cells", [[[0, 4, 0]], [[0, -1, 0]], [[2, 0, 0]], [[0, 0]]])
def test_coordinates_outside_of_a_dense_tensor_are_an_error(cells):
    with pytest.raises(ValueError, match="coordinates"):
        ME.to_sparse_all(torch.randn(2, 3, 4, 5), torch.tensor(cells).int())


def test_dense_coordinates_are_every_cell_once():
    cells = ME.dense_coordinates(torch.Size([2, 7, 3, 4]))
    assert cells.dtype == torch.int32
    expected = [[b, i, j] for b in range(2) for i in range(3) for j in range(4)]
    assert cells.tolist() == expected
    assert torch.equal(ME.dense_coordinates([3, 1, 2])[:, 1], torch.tensor([0, 1] * 3).int())


def test_gradients_go_through_sparse_and_back():
    dense = with_zeros(2, 2, 3, 3, dtype=torch.float64)
    dense = (dense + 0.5).requires_grad_()
    network = nn.Sequential(
        ME.MinkowskiToSparseTensor(coordinates=ME.dense_coordinates(dense.shape)),
        ME.MinkowskiConvolution(2, 3, 3, dimension=2).double(),
        ME.MinkowskiToDenseTensor(dense.shape),
    )
    assert torch.autograd.gradcheck(network, (dense,))


def test_a_dense_tensor_of_zeros_has_no_sites():
    zeros = torch.zeros(2, 3, 4, 5)
    x = ME.to_sparse(zeros)
    assert len(x) == 0
    assert torch.equal(ME.MinkowskiToDenseTensor(zeros.shape)(x), zeros)


def test_a_field_becomes_sparse():
    x = field()
    assert torch.equal(ME.MinkowskiToSparseTensor()(x).C, x.sparse().C)
    with pytest.raises(ValueError, match="input is list"):
        ME.MinkowskiToSparseTensor()([1])


@st.composite
def matrices(draw):
    """A sparse matrix, places repeating, and a dense one."""
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    places = st.tuples(*(st.integers(0, n - 1) for n in size))
    entries = draw(st.lists(places, max_size=12))
    rows, cols = torch.tensor(entries, dtype=torch.int32).view(-1, 2).unbind(1)
    values = torch.randn(len(entries), dtype=torch.float64)
    return rows, cols, values, size, torch.randn(size[1], 3, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_spmm_is_the_product_of_the_matrices(matrix):
    rows, cols, values, size, mat = matrix
    dense = torch.zeros(size, dtype=torch.float64)
    for row, col, value in zip(rows.tolist(), cols.tolist(), values, strict=True):
        dense[row, col] += value
    for product in (
        ME.spmm(rows, cols, values, size, mat),
        ME.spmm(rows, cols, values, torch.Size(size), mat, is_sorted=True, cuda_spmm_alg=2),
        ME.MinkowskiSPMMFunction().apply(rows.float(), cols.double(), values, size, mat),
    ):
        torch.testing.assert_close(product, dense @ mat)


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_spmm_average_takes_the_mean_of_each_row(matrix):
    rows, cols, _, size, mat = matrix
    expected = torch.zeros(size[0], 3, dtype=torch.float64)
    for row in range(size[0]):
        if (rows == row).any():
            expected[row] = mat[cols[rows == row].long()].mean(0)
    function = ME.MinkowskiSPMMAverageFunction()
    torch.testing.assert_close(function.apply(rows, cols, size, mat), expected)


def test_spmm_average_says_what_it_multiplied_by():
    rows, cols = torch.tensor([1, 0, 1, 1]), torch.tensor([3, 2, 0, 1])
    from gossamer.compat.minkowski.sparse_matrix_functions import spmm_average

    _, places, values = spmm_average(rows, cols, (2, 4), torch.ones(4, 1))
    assert places.tolist() == [[0, 1, 1, 1], [2, 3, 0, 1]]
    torch.testing.assert_close(values, torch.tensor([1.0, 1 / 3, 1 / 3, 1 / 3]))


def test_spmm_has_gradients_for_both_matrices():
    rows, cols = torch.tensor([0, 2, 2, 0]), torch.tensor([1, 1, 1, 0])
    values = torch.randn(4, dtype=torch.float64, requires_grad=True)
    mat = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    arguments = rows, cols, values, [3, 2], mat
    assert gradcheck(ME.MinkowskiSPMMFunction(), arguments)
    average = rows, cols, [3, 2], mat
    assert gradcheck(ME.MinkowskiSPMMAverageFunction(), average)
    product = lambda v, m: ME.spmm(rows, cols, v, (3, 2), m)  # noqa: E731
    assert torch.autograd.gradgradcheck(product, (values, mat))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_spmm_takes_half_types(dtype):
    rows, cols = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    values, mat = torch.randn(3).to(dtype), torch.randn(2, 3).to(dtype)
    product = ME.spmm(rows, cols, values, (2, 2), mat)
    wide = ME.spmm(rows, cols, values.float(), (2, 2), mat.float())
    assert product.dtype == dtype
    torch.testing.assert_close(product.float(), wide, rtol=0.02, atol=0.02)


BAD_MATRICES = {
    "rows has 1 entries and cols 2": ([0], [0, 1], 1.0, (2, 2), (2, 3)),
    "vals has 1 entries and rows 2": ([0, 1], [0, 1], 1.0, (2, 2), (2, 3)),
    "rows reaches from 0 to 2": ([2, 0], [0, 1], 2.0, (2, 2), (2, 3)),
    "cols reaches from -1 to 0": ([1, 0], [0, -1], 2.0, (2, 2), (2, 3)),
    "wanted a matrix of 2 rows": ([1, 0], [0, 1], 2.0, (2, 2), (3, 3)),
}


@pytest.mark.parametrize("message", BAD_MATRICES)
def test_a_matrix_that_does_not_fit_is_an_error(message):
    rows, cols, count, size, shape = BAD_MATRICES[message]
    values = torch.ones(int(count))
    with pytest.raises(ValueError, match=message):
        ME.spmm(torch.tensor(rows), torch.tensor(cols), values, size, torch.ones(shape))


def test_spmm_refuses_different_dtypes():
    place = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="vals is torch"):
        ME.spmm(place, place, torch.ones(1).double(), (1, 1), torch.ones(1, 1))
