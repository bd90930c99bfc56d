"""`spconv.pytorch.functional`: gradients of every order, autocast, and sums on unions of sites."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gossamer.compat.cumm.tensorview.gemm import Activation
from gossamer.compat.spconv.pytorch import functional as fsp
from gossamer.compat.spconv.pytorch import ops
from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.compat.spconv.tools import CUDAKernelTimer
from tests.compat.by_hand import random_indices
from tests.compat.kernels import IMPLICIT, KINDS, NATIVE, built, flags, kernel
from tests.dense import scattered

ACTIVATIONS = {"none": 0, "relu": 1, "sigmoid": 2, "leaky": 3}
FORMS = ("function", "Function", "table function", "table Function", "inverse", "inverse Function")


def convolution(form: str, kind: str, ndim: int, act: int = 0):
    """A function of features, filters and bias, and random such of float64."""
    indices, shape, sizes, (out, pairs, counts) = built(kind, ndim, "overlapping")
    subm, steps = kind == "submanifold", (0.2, 0.0, Activation(act))
    inputs, rows = (len(out), len(indices)) if "inverse" in form else (len(indices), len(out))
    given = [torch.randn(inputs, 2), torch.randn(3, *sizes[0], 2), torch.randn(3)]
    given = [t.double().requires_grad_() for t in given]
    if "table" not in form:
        names = {"submanifold": ("indice_subm_conv", fsp.SubMConvFunction)}
        usual = ("indice_conv", fsp.SparseConvFunction)
        function, cls = names.get(kind, usual)
        if "inverse" in form:
            function, cls = "indice_inverse_conv", fsp.SparseInverseConvFunction
        run = cls.apply if "Function" in form else getattr(fsp, function)
        last = pairs, counts, rows, NATIVE, CUDAKernelTimer(False)
        return lambda x, w, b: run(x, w, *last, b, *steps), given
    tables = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes, **flags(kind))
    run = fsp.SparseImplicitGemmFunction.apply if "Function" in form else fsp.implicit_gemm
    last = *tables[2:8], rows, tables[8], False, subm, CUDAKernelTimer(False), None
    return lambda x, w, b: run(x, w, *last, b, *steps), given


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(
    ("kind", "form"),
    [(k, f) for k in KINDS for f in FORMS if k != "submanifold" or "inverse" not in f],
)
def test_gradients_of_both_orders_are_those_of_differences(kind, form, act):
    torch.manual_seed(0)
    run, given = convolution(form, kind, 1, ACTIVATIONS[act])
    assert gradcheck(run, given)
    assert gradgradcheck(run, given)


@pytest.mark.parametrize("ndim", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_gives_one_result_and_one_gradient(kind, ndim):
    torch.manual_seed(0)
    results = []
    for form in FORMS[:4]:
        run, given = convolution(form, kind, ndim)
        torch.manual_seed(1)
        given = [torch.randn_like(t).requires_grad_() for t in given]
        y = run(*given)
        results.append((y, *torch.autograd.grad(y, given, torch.randn_like(y))))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def poolings(ndim: int):
    indices, shape, sizes, (out, pairs, counts) = built("regular", ndim)
    forward, backward = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes)[2:4]
    rows = len(out)
    tables = forward, backward, rows
    return len(indices), {
        "max": [
            lambda x: fsp.indice_maxpool(x, pairs, counts, rows),
            lambda x: fsp.SparseMaxPoolFunction.apply(x, pairs, counts, rows),
            lambda x: fsp.indice_maxpool_implicit_gemm(x, *tables),
            lambda x: fsp.SparseMaxPoolImplicitGemmFunction.apply(x, *tables),
        ],
        "mean": [
            lambda x: fsp.indice_avgpool_implicit_gemm(x, *tables, True),
            lambda x: fsp.indice_avgpool_implicit_gemm(x, *tables, False),
            lambda x: fsp.SparseAvgPoolImplicitGemmFunction.apply(x, *tables, False),
        ],
    }


@pytest.mark.parametrize("how", ["max", "mean"])
@pytest.mark.parametrize("ndim", [1, 2])
def test_poolings_have_the_gradients_of_differences(ndim, how):
    torch.manual_seed(0)
    count, forms = poolings(ndim)
    x = (torch.randperm(2 * count).view(count, 2).double() / count).requires_grad_()
    wanted = forms[how][0](x)
    for run in forms[how]:
        torch.testing.assert_close(run(x), wanted)
        assert gradcheck(run, x)
        assert gradgradcheck(run, x)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_and_one_row_have_gradients_too(kind, count):
    _, _, sizes, (out, pairs, counts) = built(kind, 2, count=count)
    run = fsp.indice_subm_conv if kind == "submanifold" else fsp.indice_conv
    x = torch.randn(count, 3, requires_grad=True)
    filters = torch.randn(4, *sizes[0], 3, requires_grad=True)
    y = run(x, filters, pairs, counts, len(out), NATIVE, bias=torch.ones(4))
    assert y.shape == (len(out), 4)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert bool(filters.grad.any()) == (count > 0)
    assert fsp.indice_maxpool(x, pairs, counts, len(out)).shape == (len(out), 3)


@pytest.mark.parametrize("kind", ["regular", "transposed"])
def test_rows_that_repeat_are_added_as_on_a_dense_grid(kind):
    indices = random_indices(2, 12, [5, 6], 2)
    indices = torch.cat([indices, indices[:5], indices[:2]])
    merged, place = torch.unique(indices, dim=0, return_inverse=True)
    sizes = kernel("overlapping", 2)
    x = torch.randn(19, 3, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    once = torch.zeros(12, 3, dtype=torch.float64).index_add(0, place, x)
    results = []
    for rows, features in ((indices, x), (merged.int(), once)):
        out, pairs, counts = ops.get_indice_pairs(rows, 2, [5, 6], NATIVE, *sizes, **flags(kind))
        y = fsp.indice_conv(features, filters, pairs, counts, len(out), NATIVE)
        results.append((out, y, torch.autograd.grad(y.square().sum(), x, retain_graph=True)[0]))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_autocast_decides_the_dtype_and_gradients_keep_that_of_the_parameters(half, form):
    torch.manual_seed(0)
    run, given = convolution(form, "regular", 2)
    given = [t.detach().float().requires_grad_() for t in given]
    wanted = run(*given)
    with torch.autocast("cpu", dtype=half):
        y = run(*given)
    assert y.dtype == half
    torch.testing.assert_close(y.float(), wanted, rtol=0.05, atol=0.1)
    first = torch.autograd.grad(wanted.square().sum(), given)
    grads = torch.autograd.grad(y.float().square().sum(), given, create_graph=True)
    for grad, other in zip(grads, first, strict=True):
        assert grad.dtype == torch.float32
        torch.testing.assert_close(grad, other, rtol=0.1, atol=0.02 * float(other.abs().max()))
    torch.autograd.grad(grads[0].square().sum(), given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_float_dtype_is_taken_and_kept(dtype):
    run, given = convolution("function", "submanifold", 3)
    exact = run(*given)
    y = run(*(t.to(dtype) for t in given))
    assert y.dtype == dtype
    torch.testing.assert_close(
        y.double(), exact, rtol=0, atol=float(40 * torch.finfo(dtype).eps * 9)
    )


def test_a_negative_slope_has_no_gradient_to_be_told_from_results():
    indices, _, sizes, (out, pairs, counts) = built("regular", 2)
    x = torch.randn(len(indices), 3, requires_grad=True)
    arrays = torch.randn(4, *sizes[0], 3), pairs, counts, len(out), NATIVE
    y = fsp.indice_conv(x, *arrays, act_alpha=-0.5, act_type=Activation.LeakyReLU)
    with pytest.raises(ValueError, match=r"act_alpha is -0\.5"):
        y.sum().backward()


def tensor(rows: list[list[int]], *, width: int = 2, shape=(4, 5)) -> SparseConvTensor:
    indices = torch.tensor(rows, dtype=torch.int32).view(-1, 1 + len(shape))
    features = torch.randn(len(indices), width, dtype=torch.float64, requires_grad=True)
    return SparseConvTensor(features, indices, list(shape), 2, indice_dict={"key": object()})


def dense(x: SparseConvTensor) -> Tensor:
    return scattered(x.features, x.indices, x.batch_size, x.spatial_shape)


LARGE = [[1, 3, 4], [0, 0, 0], [0, 2, 1]]


@pytest.mark.parametrize("add", [fsp.sparse_add, fsp.sparse_add_hash_based])
@pytest.mark.parametrize(
    "others", [[[[0, 2, 1]]], [[[0, 1, 1], [1, 3, 4]], [[0, 1, 1]]], [LARGE[::-1]], [], [[]]]
)
def test_tensors_are_added_on_the_union_of_their_sites(add, others):
    tensors = [*map(tensor, others), tensor(LARGE)]
    total = add(*tensors)
    wanted = sum(map(dense, tensors))
    torch.testing.assert_close(dense(total), wanted)
    rows = [tuple(row) for row in total.indices.tolist()]
    assert len(set(rows)) == len(rows)
    assert set(rows) == {tuple(row) for given in [*others, LARGE] for row in given}
    largest = [tuple(row) for row in max([*others, LARGE], key=len)]
    first = sorted(rows) if add is fsp.sparse_add else largest
    assert rows[: len(first)] == first
    dense(total).square().sum().backward()
    for x in tensors:
        grid = 2 * wanted.detach()
        at = tuple(x.indices.long().unbind(1))
        torch.testing.assert_close(x.features.grad, grid.movedim(1, -1)[at])


def test_rulebooks_are_kept_only_where_the_rows_are_the_same():
    large, small = tensor(LARGE), tensor(LARGE[:1])
    assert fsp.sparse_add_hash_based(small, large).indice_dict is large.indice_dict
    assert fsp.sparse_add(small, large).indice_dict == {}  # as many rows, in another order
    ordered = tensor(sorted(LARGE))
    assert fsp.sparse_add(small, ordered).indice_dict is ordered.indice_dict
    assert fsp.sparse_add_hash_based(large, tensor([[0, 1, 1]])).indice_dict == {}


def test_one_tensor_may_be_added_to_itself():
    x = tensor(LARGE)
    torch.testing.assert_close(fsp.sparse_add_hash_based(x, x).features, 2 * x.features)


@pytest.mark.parametrize("add", [fsp.sparse_add, fsp.sparse_add_hash_based])
def test_tensors_that_differ_in_more_than_sites_are_not_added(add):
    with pytest.raises(IndexError, match="no tensor"):
        add()
    for other in (tensor(LARGE, width=3), tensor(LARGE, shape=(4, 6))):
        with pytest.raises(AssertionError, match="spatial_shape, batch_size, channels"):
            add(tensor(LARGE), other)


def test_sums_are_those_of_spconv():
    theirs = pytest.importorskip("spconv.pytorch")
    tensors = [tensor(LARGE), tensor([[0, 2, 1], [1, 1, 1]])]
    there = [theirs.SparseConvTensor(x.features, x.indices, [4, 5], 2) for x in tensors]
    wanted, total = theirs.functional.sparse_add(*there), fsp.sparse_add(*tensors)
    assert torch.equal(total.indices, wanted.indices.int())
    torch.testing.assert_close(total.features, wanted.features)


def test_a_row_is_one_number_of_64_bits():
    indices = torch.tensor([[1, 2, 3], [3, 69999, 69999]], dtype=torch.int32)
    shape = [4, 70000, 70000]
    wanted = [(1 * 70000 + 2) * 70000 + 3, 4 * 70000**2 - 1]
    assert fsp._indice_to_scalar(indices, shape).tolist() == wanted
    with pytest.raises(AssertionError, match="3 columns"):
        fsp._indice_to_scalar(indices, [4, 5])
