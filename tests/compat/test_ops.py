"""`spconv.pytorch.ops`: upstream's arrays, and what is computed with them, against dense torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from gossamer.compat.cumm.tensorview.gemm import Activation
from gossamer.compat.spconv.pytorch import ops
from tests.compat.by_hand import (
    centred,
    conv_shape,
    half_listed,
    listed,
    regular_pairs,
    submanifold_pairs,
    transposed_pairs,
)
from tests.compat.kernels import (
    CASES,
    IMPLICIT,
    KINDS,
    NATIVE,
    SHAPES,
    SPLIT,
    built,
    flags,
    output_shape,
)
from tests.dense import Kernel, box_taps, downward, gathered, scattered, upward


def pairs_by_hand(kind: str, indices: torch.Tensor, shape: list[int], sizes, out: list) -> set:
    if kind == "submanifold":
        return submanifold_pairs(indices, centred(sizes[0], sizes[3]))
    find = regular_pairs if kind == "regular" else transposed_pairs
    pairs = find(indices, output_shape(kind, shape, sizes), *sizes[:4])
    assert sorted({site for _, _, site in pairs}) == out  # every site reached, sorted, and no other
    return {(tap, row, out.index(site)) for tap, row, site in pairs}


@pytest.mark.parametrize("count", [0, 1, None])
@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("ndim", SHAPES)
def test_lists_hold_the_pairs_found_by_hand(ndim, kind, name, count):
    indices, shape, sizes, (out, pairs, counts) = built(kind, ndim, name, count)
    assert pairs.shape == (2, sizes[0][0] ** ndim, len(indices))
    sites = [tuple(site) for site in out.tolist()]
    read = half_listed if kind == "submanifold" else listed
    assert read(pairs, counts) == pairs_by_hand(kind, indices, shape, sizes, sites)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_lists_are_those_of_spconv(ndim, kind, name):
    theirs = pytest.importorskip("spconv.pytorch.ops")
    algo = pytest.importorskip("spconv.core").ConvAlgo.Native
    indices, shape, sizes, (out, pairs, counts) = built(kind, ndim, name)
    out_there, pairs_there, counts_there = theirs.get_indice_pairs(
        indices, 2, shape, algo, *sizes, **flags(kind)
    )
    assert torch.equal(counts, counts_there)
    assert pairs.shape == pairs_there.shape
    read = half_listed if kind == "submanifold" else listed
    ours, other = (
        {(tap, a, tuple(rows[b])) for tap, a, b in read(*lists)}
        for rows, lists in (
            (out.tolist(), (pairs, counts)),
            (out_there.tolist(), (pairs_there, counts_there)),
        )
    )
    assert ours == other


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_convolution_and_pooling_are_those_of_spconv(ndim, kind):
    theirs = pytest.importorskip("spconv.pytorch.ops")
    indices, _, sizes, (out, pairs, counts) = built(kind, ndim)
    x = torch.randn(len(indices), 5)
    filters = torch.randn(4, *sizes[0], 5)
    arguments = x, filters, pairs, counts, len(out)
    subm = kind == "submanifold"
    y = theirs.indice_conv(*arguments, subm=subm)
    torch.testing.assert_close(ops.indice_conv(*arguments, subm=subm), y, rtol=1e-5, atol=1e-5)
    if not subm:
        back = (y, filters.transpose(0, -1).contiguous(), pairs, counts, len(x), True)
        torch.testing.assert_close(
            ops.indice_conv(*back), theirs.indice_conv(*back), rtol=1e-5, atol=1e-4
        )
        most = theirs.indice_maxpool(x.abs(), pairs, counts, len(out))  # negative ones it clamps
        assert torch.equal(ops.indice_maxpool(x.abs(), pairs, counts, len(out)), most)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("ndim", SHAPES)
def test_both_algorithms_convolve_as_torch_does_on_a_dense_grid(ndim, name, kind):
    indices, shape, sizes, (out, pairs, counts) = built(kind, ndim, name)
    size, stride, padding, dilation, _ = sizes
    subm = kind == "submanifold"
    x = torch.randn(len(indices), 3, dtype=torch.float64)
    filters = torch.randn(4, *size, 3, dtype=torch.float64)
    if subm:
        stride, padding = [1] * ndim, [k // 2 * d for k, d in zip(size, dilation, strict=True)]
    dense = upward if kind == "transposed" else downward
    grid = dense(
        scattered(x, indices, 2, shape),
        filters.flatten(1, -2).permute(1, 2, 0),
        Kernel(box_taps(size), stride, padding, dilation),
        output_shape(kind, shape, sizes),
    )
    wanted = gathered(grid, out)
    torch.testing.assert_close(
        ops.indice_conv(x, filters, pairs, counts, len(out), subm=subm), wanted
    )
    found, _, forward, _, sets, _, orders, _, masks = ops.get_indice_pairs_implicit_gemm(
        indices, 2, shape, IMPLICIT, *sizes, **flags(kind)
    )
    assert torch.equal(found, out)
    y, *_ = ops.implicit_gemm(x, filters, forward, sets, orders, len(out), masks, True, subm)
    torch.testing.assert_close(y, wanted)
    if not subm:  # nothing is lost: outside the output sites the dense result is zero
        torch.testing.assert_close(scattered(wanted, out, 2, grid.shape[2:]), grid)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_transposed_kernel_with_output_padding_is_that_of_torch(ndim):
    indices, shape, sizes, (out, pairs, counts) = built("transposed", ndim, "padded out")
    x = torch.randn(len(indices), 3, dtype=torch.float64)
    filters = torch.randn(4, *sizes[0], 3, dtype=torch.float64)
    torch_op = getattr(functional, f"conv_transpose{ndim}d")
    wanted = torch_op(scattered(x, indices, 2, shape), filters.movedim(-1, 0), None, 2, 1, 1)
    assert list(wanted.shape[2:]) == ops.get_deconv_output_size(shape, *sizes)
    y = ops.indice_conv(x, filters, pairs, counts, len(out))
    torch.testing.assert_close(scattered(y, out, 2, wanted.shape[2:]), wanted)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_an_inverse_is_the_transposed_convolution_at_the_rows_it_came_from(ndim):
    indices, shape, sizes, (out, pairs, counts) = built("regular", ndim)
    y = torch.randn(len(out), 3, dtype=torch.float64)
    filters = torch.randn(4, *sizes[0], 3, dtype=torch.float64)
    grid = upward(
        scattered(y, out, 2, conv_shape(shape, *sizes[:4])),
        filters.flatten(1, -2).permute(1, 2, 0),
        Kernel(box_taps(sizes[0]), *sizes[1:4]),
        shape,
    )
    back = ops.indice_conv(y, filters, pairs, counts, len(indices), inverse=True)
    torch.testing.assert_close(back, gathered(grid, indices))
    forward, backward = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes)[2:4]
    assert forward.shape[1] == len(out)
    table = ops.implicit_gemm(y, filters, backward, [], [], len(indices), [], False, False)
    torch.testing.assert_close(table[0], back)
    assert table[1] is None


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_poolings_are_those_of_torch_also_of_negative_values(ndim):
    indices, shape, sizes, (out, pairs, counts) = built("regular", ndim)
    x = torch.randn(len(indices), 3, dtype=torch.float64) - 5
    dense = scattered(x + 1000, indices, 2, shape)  # 0 is then what is not there
    pool = getattr(functional, f"max_pool{ndim}d")
    wanted = gathered(pool(dense, 3, 2, 1), out) - 1000
    torch.testing.assert_close(ops.indice_maxpool(x, pairs, counts, len(out)), wanted)
    tables = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes)
    forward, backward = tables[2:4]
    torch.testing.assert_close(ops.indice_maxpool_implicit_gemm(x, forward, len(out)), wanted)
    mean, count = ops.indice_avgpool_implicit_gemm(x, forward, len(out), True)
    ones = [1] * ndim
    window = Kernel(box_taps(sizes[0]), [2] * ndim, ones, ones)
    summing = torch.eye(3, dtype=torch.float64).expand(3**ndim, 3, 3)
    total, there = (
        gathered(
            downward(
                scattered(v, indices, 2, shape), summing, window, conv_shape(shape, *sizes[:4])
            ),
            out,
        )
        for v in (x, torch.ones_like(x))
    )
    torch.testing.assert_close(count, there[:, 0].int())
    torch.testing.assert_close(mean, total / there)
    assert ops.indice_avgpool_implicit_gemm(x, forward, len(out), False)[1].numel() == 0
    assert backward.shape[1] == len(x)


def test_of_equal_maxima_the_first_row_gets_the_gradient():
    pairs = torch.tensor([[[0, 1, 2], [3, -1, -1]], [[0, 0, 1], [0, -1, -1]]], dtype=torch.int32)
    counts = torch.tensor([3, 1], dtype=torch.int32)
    x = torch.tensor([[5.0], [5.0], [-1.0], [5.0]])
    out, grad = ops.indice_maxpool(x, pairs, counts, 3), torch.tensor([[2.0], [3.0], [7.0]])
    assert out.tolist() == [[5.0], [-1.0], [0.0]]
    wanted = [[2.0], [0.0], [3.0], [0.0]]
    assert ops.indice_maxpool_backward(x, out, grad, pairs, counts).tolist() == wanted
    backward = torch.tensor([[0, 0, 1, -1], [-1, -1, -1, 0]], dtype=torch.int32)
    back = ops.indice_maxpool_implicit_gemm_backward(x, out, grad, backward)
    assert back.tolist() == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_functions_called_backward_are_the_gradients(kind):
    indices, shape, sizes, (out, pairs, counts) = built(kind, 2)
    subm = kind == "submanifold"
    x = torch.randn(len(indices), 3, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(4, *sizes[0], 3, dtype=torch.float64, requires_grad=True)
    y = ops.indice_conv(x, filters, pairs, counts, len(out), subm=subm)
    grad = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (x, filters), grad)
    x, filters = x.detach(), filters.detach()
    by_lists = ops.indice_conv_backward(x, filters, grad, pairs, counts, subm=subm)
    tables = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes, **flags(kind))
    by_table = ops.implicit_gemm_backward(x, filters, grad, *tables[2:8], None, tables[8], 32, subm)
    torch.testing.assert_close(by_lists, wanted)
    torch.testing.assert_close(by_table, wanted)
    mean, count = ops.indice_avgpool_implicit_gemm(x.requires_grad_(), tables[2], len(out), True)
    grad = torch.randn_like(mean)
    back = ops.indice_avgpool_implicit_gemm_backward(grad, tables[3], count)
    torch.testing.assert_close(back, torch.autograd.grad(mean, x, grad)[0])


def test_bias_residual_and_activation_come_in_this_order():
    indices, shape, sizes, (out, pairs, counts) = built("regular", 2)
    x, filters = torch.randn(len(indices), 3), torch.randn(4, *sizes[0], 3)
    bias, more = torch.randn(4), torch.randn(len(out), 4)
    y = ops.indice_conv(x, filters, pairs, counts, len(out))
    table = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes)[2]
    for act, function in (
        (Activation.None_, lambda t: t),
        (Activation.ReLU, torch.relu),
        (Activation.Sigmoid, torch.sigmoid),
        (Activation.LeakyReLU, lambda t: functional.leaky_relu(t, 0.2)),
    ):
        steps = {"bias": bias, "act_alpha": 0.2, "act_type": act}
        torch.testing.assert_close(
            ops.indice_conv(x, filters, pairs, counts, len(out), **steps), function(y + bias)
        )
        added = ops.implicit_gemm(
            x, filters, table, [], [], len(out), [], False, False, output_add=more, **steps
        )
        torch.testing.assert_close(added[0], function(y + bias + more))
    fused = ops.fused_indice_conv(x, filters, bias, pairs, counts, len(out), False, False)
    torch.testing.assert_close(fused, y + bias)
    with pytest.raises(NotImplementedError, match="8-bit"):
        ops.implicit_gemm(x.char(), filters.char(), table, [], [], len(out), [], False, False)


def test_a_submanifold_kernel_returns_the_indices_it_got():
    indices, shape, sizes, (out, *_) = built("submanifold", 2)
    assert out.data_ptr() == indices.data_ptr()
    found = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes, subm=True)
    assert found[0] is indices
    assert found[1].tolist() == [0] * 9


def test_only_the_tables_heed_the_bound_of_outputs():
    indices, shape, sizes, (out, pairs, counts) = built("regular", 2)
    ignored = ops.get_indice_pairs(indices, 2, shape, NATIVE, *sizes, num_out_act_bound=5)
    for got, wanted in zip(ignored, (out, pairs, counts), strict=True):
        assert torch.equal(got, wanted)
    whole = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, SPLIT, *sizes)
    part = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, SPLIT, *sizes, num_out_act_bound=5)
    assert torch.equal(part[0], out[:5])
    assert torch.equal(part[2], whole[2][:, :5])
    assert torch.equal(part[3], whole[3].masked_fill(whole[3] >= 5, -1))
    assert (part[3] >= 0).sum() == (part[2] >= 0).sum()
    assert [sets.shape for sets in part[4]] == [(5, 1)] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_may_be_arrays_tensors_and_views(kind):
    indices, shape, sizes, wanted = built(kind, 3)
    strided = torch.stack([indices, indices], dim=2)[:, :, 0]
    assert not strided.is_contiguous()
    arrays = [np.array(size) for size in sizes]
    got = ops.get_indice_pairs(
        strided, np.int64(2), torch.tensor(shape), NATIVE, *arrays, **flags(kind)
    )
    for ours, other in zip(got, wanted, strict=True):
        assert torch.equal(ours, other)


def test_a_grid_beyond_32_bits_has_no_wrong_neighbours():
    shape = [70000, 70000]
    cells = [[0, 0, 0], [0, 0, 1], [0, 61356, 67297], [0, 61356, 67296], [0, 69999, 69999]]
    indices = torch.tensor(cells, dtype=torch.int32)
    sizes = [[3, 3], [1, 1], [1, 1], [1, 1], [0, 0]]
    _, pairs, counts = ops.get_indice_pairs(indices, 1, shape, NATIVE, *sizes, subm=True)
    wanted = submanifold_pairs(indices, centred([3, 3], [1, 1]))
    assert half_listed(pairs, counts) == wanted
    assert len(wanted) == 5 + 4
    apart = [[2, 2], [2, 2], [0, 0], [1, 1], [0, 0]]
    out, *_ = ops.get_indice_pairs(indices, 1, shape, NATIVE, *apart, transpose=True)
    assert out.max() == 139999


def test_lists_that_are_written_into_are_read_anew():
    _, _, sizes, (out, pairs, counts) = built("regular", 2)
    x, filters = torch.randn(20, 3), torch.randn(4, *sizes[0], 3)
    before = ops.indice_conv(x, filters, pairs, counts, len(out))
    again = ops.indice_conv(x, filters, pairs.clone(), counts.clone(), len(out))
    assert torch.equal(before, again)
    counts[0] = 0
    fewer = ops.indice_conv(x, filters, pairs, counts, len(out))
    assert not torch.allclose(fewer, before)
    filters[:, 0, 0] = 0
    torch.testing.assert_close(ops.indice_conv(x, filters, pairs, counts, len(out)), fewer)
    pairs[0, 1] = 99
    with pytest.raises(ValueError, match=r"indice_pairs\[0\]"):
        ops.indice_conv(x, filters, pairs, counts, len(out))


def test_sizes_are_those_of_spconv():
    assert ops.get_conv_output_size([5, 9], [3, -1], [2, 1], [1, 0], [2, 1]) == [2, 1]
    assert ops.get_deconv_output_size([5, 5], [3, 3], [2, 2], [1, 1], [2, 2], [1, 1]) == [10, 10]
    with pytest.raises(ValueError, match="kernel_size"):
        ops.get_deconv_output_size([5], [-1], [1], [0], [1], [0])


def test_rows_are_arranged_by_sample():
    coords = torch.tensor([[2, 0], [0, 1], [2, 1], [0, 0]], dtype=torch.int32)
    rows, counts = ops.global_pool_rearrange(coords, 3)
    assert rows.tolist() == [[1, 3, -1, -1], [-1] * 4, [0, 2, -1, -1]]
    assert (counts.tolist(), rows.dtype, counts.dtype) == ([2, 0, 2], torch.int32, torch.int32)
    assert ops.global_pool_rearrange(coords[:0], 2)[0].shape == (2, 0)
    with pytest.raises(ValueError, match="batch"):
        ops.global_pool_rearrange(coords, 2)


def test_a_maximum_is_taken_in_place():
    ten = torch.tensor([3, 9, -2], dtype=torch.int32)
    assert ops.maximum_value_int_(ten, 4) is None
    assert ten.tolist() == [4, 9, 4]
