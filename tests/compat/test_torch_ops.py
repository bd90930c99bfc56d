"""Rulebooks as torch ops: one node each for torch.compile and torch.export, and 1.2's own ops."""

import subprocess
import sys

import pytest
import torch

from gossamer.compat.spconv.pytorch import functional as fsp
from gossamer.compat.spconv.pytorch import ops
from gossamer.compat.spconv1 import torch_ops
from tests.compat.by_hand import conv_shape, listed, random_indices, submanifold_pairs
from tests.compat.kernels import IMPLICIT, KINDS, NATIVE, SHAPES, built, flags
from tests.dense import Kernel, box_taps, downward, gathered, scattered

NAMES = sorted(
    n for n in torch._C._dispatch_get_all_op_names() if n.startswith("gossamer_spconv::")
)
torch_ops.register()
spconv1 = torch.ops.spconv


def arguments(kind: str, count: int | None = None) -> dict[str, tuple]:
    indices, shape, sizes, (out, pairs, counts) = built(kind, 2, count=count)
    subm, rows, inputs = kind == "submanifold", len(out), len(indices)
    sites = indices, 2, shape, *sizes, subm, kind == "transposed"
    tables = ops.get_indice_pairs_implicit_gemm(indices, 2, shape, IMPLICIT, *sizes, **flags(kind))
    table, lists = tables[2], (pairs, counts)

    def values(*size: int) -> torch.Tensor:
        return torch.randn(*size, dtype=torch.float64, requires_grad=True)

    x, filters, bias = values(inputs, 2), values(3, 3, 3, 2), values(3)
    steps = bias, 0.2, 0.0, 3
    return {
        "get_indice_pairs": sites,
        "get_indice_pairs_implicit_gemm": (*sites, 2, True, -1, True),
        "indice_conv": (x, filters, *lists, rows, False, subm, *steps),
        "indice_conv_weight_grad": (x, values(rows, 3), *lists, False, subm),
        "indice_subm_conv": (x, filters, *lists, rows, *steps),
        "indice_inverse_conv": (values(rows, 2), filters, *lists, inputs, *steps),
        "implicit_gemm": (x, filters, table, rows, False, False, *steps),
        "implicit_gemm_weight_grad": (x, values(rows, 3), table, False, False),
        "indice_maxpool": (x, *lists, rows),
        "indice_maxpool_implicit_gemm": (x, table, rows),
        "indice_avgpool_implicit_gemm": (x, table, rows),
        "table_sum": (x, table, rows, False),
        "max_rows": (x.detach(), [*lists], rows, False),
    }


def test_every_op_that_is_registered_is_checked_here():
    assert NAMES == sorted(f"gossamer_spconv::{name}" for name in arguments("regular"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in NAMES for k in KINDS if k == "submanifold" or "subm" not in n],
)
def test_an_op_is_registered_as_torch_wants_it(name, kind):
    op = name.removeprefix("gossamer_spconv::")
    torch.manual_seed(0)
    torch.library.opcheck(getattr(torch.ops.gossamer_spconv, op).default, arguments(kind)[op])


@pytest.mark.parametrize("name", NAMES)
def test_an_op_takes_no_rows(name):
    op = name.removeprefix("gossamer_spconv::")
    given = arguments("submanifold", 0)[op]
    torch.library.opcheck(getattr(torch.ops.gossamer_spconv, op).default, given)


class Two(torch.nn.Module):
    """A strided and a submanifold convolution through arrays, and a pooling."""

    def __init__(self):
        super().__init__()
        self.down = torch.nn.Parameter(torch.randn(4, 3, 3, 2) / 4)
        self.same = torch.nn.Parameter(torch.randn(5, 3, 3, 4) / 6)

    def forward(self, features: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        ones, twos, threes, zeros = ([v, v] for v in (1, 2, 3, 0))
        sizes = threes, twos, ones, ones, zeros
        rows, pairs, counts = ops.get_indice_pairs(indices, 2, [7, 8], NATIVE, *sizes)
        x = fsp.indice_conv(features, self.down, pairs, counts, rows.shape[0], NATIVE)
        tables = ops.get_indice_pairs_implicit_gemm(rows, 2, [4, 4], IMPLICIT, *sizes, subm=True)
        count = rows.shape[0]
        y = fsp.implicit_gemm(x, self.same, *tables[2:8], count, tables[8], True, True)
        return fsp.indice_maxpool_implicit_gemm(y, tables[2], tables[3], count)


def test_a_network_compiles_to_one_graph_with_the_same_gradients():
    torch.manual_seed(0)
    network, leaf = Two(), torch.randn(20, 2, requires_grad=True)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for seed in (0, 1):
        indices = random_indices(2, 20, [7, 8], 2, seed)
        y, z = network(leaf, indices), compiled(leaf, indices)
        torch.testing.assert_close(z, y)
        given = leaf, *network.parameters()
        cotangent = torch.randn_like(y)
        wanted = torch.autograd.grad(y, given, cotangent)
        torch.testing.assert_close(torch.autograd.grad(z, given, cotangent), wanted)


def test_an_exported_network_has_one_node_an_op():
    torch.manual_seed(0)
    network, x, indices = Two(), torch.randn(20, 2), random_indices(2, 20, [7, 8], 2)
    program = torch.export.export(network, (x, indices))
    calls = [str(n.target) for n in program.graph.nodes if "gossamer_spconv" in str(n.target)]
    assert [call.split(".")[1] for call in calls] == [
        "get_indice_pairs",
        "indice_conv",
        "get_indice_pairs_implicit_gemm",
        "implicit_gemm",
        "indice_maxpool_implicit_gemm",
    ]
    torch.testing.assert_close(program.module()(x, indices), network(x, indices))


def offsets(size: list[int], dilation: list[int]) -> list[tuple[int, ...]]:
    """What the taps of a submanifold kernel of 1.2 look at."""
    return [
        tuple(t * d - k // 2 for t, d, k in zip(tap, dilation, size, strict=True))
        for tap in box_taps(size)
    ]


def pairs_of(indices, out_shape, shape, size, stride, padding, dilation, subm=0, transpose=0):
    zeros = [0] * len(shape)
    last = zeros, subm, transpose, 0
    return spconv1.get_indice_pairs(
        indices, 2, out_shape, shape, size, stride, padding, dilation, *last
    )


@pytest.mark.parametrize("count", [0, 1, 25])
@pytest.mark.parametrize(("edge", "spread"), [(3, 1), (3, 2), (2, 1), (2, 2), (5, 2)])
@pytest.mark.parametrize("ndim", SHAPES)
def test_submanifold_lists_of_1_2_count_every_tap_and_pad_without_dilation(
    ndim, edge, spread, count
):
    shape, ones = SHAPES[ndim], [1] * ndim
    indices = random_indices(ndim, count, shape, 2)
    size, dilation = [edge] * ndim, [spread] * ndim
    rows, pairs, counts = pairs_of(indices, shape, shape, size, ones, ones, dilation, subm=1)
    assert torch.equal(rows, indices)
    assert pairs.shape == (2, edge**ndim, len(indices))
    wanted = submanifold_pairs(indices, offsets(size, dilation))
    middle = edge**ndim // 2  # where the convolution of 1.2 multiplies the row itself
    wanted = {pair for pair in wanted if pair[0] != middle}
    wanted |= {(middle, row, row) for row in range(len(indices))}
    assert listed(pairs, counts) == wanted


@pytest.mark.parametrize(("edge", "spread"), [(3, 1), (2, 1), (3, 2), (2, 2)])
def test_of_rows_that_repeat_1_2_sees_itself_and_the_first(edge, spread):
    indices = torch.tensor([[0, 2], [0, 3], [0, 2], [0, 1]], dtype=torch.int32)
    size, dilation = [edge], [spread]
    _, pairs, counts = pairs_of(indices, [5], [5], size, [1], [0], dilation, subm=1)
    wanted = set()
    firsts, copies = {1: 3, 2: 0, 3: 1}, {1: [3], 2: [0, 2], 3: [1]}
    for tap, (offset,) in enumerate(offsets(size, dilation)):
        for site, rows in copies.items():
            for row in rows:
                if tap == edge // 2:
                    wanted.add((tap, row, row))
                elif site + offset in firsts:
                    wanted.add((tap, firsts[site + offset], row))
    assert listed(pairs, counts) == wanted


@pytest.mark.parametrize("kind", ["regular", "transposed"])
def test_other_lists_of_1_2_are_those_of_2(kind):
    indices, shape, sizes, wanted = built(kind, 3)
    out_shape = conv_shape(shape, *sizes[:4])
    if kind == "transposed":
        out_shape = ops.get_deconv_output_size(shape, *sizes)
    got = pairs_of(indices, out_shape, shape, *sizes[:4], transpose=int(kind == "transposed"))
    for ours, other in zip(got, wanted, strict=True):
        assert torch.equal(ours, other)


def test_an_output_shape_that_does_not_follow_is_an_error():
    indices, shape, sizes, _ = built("regular", 2)
    with pytest.raises(ValueError, match=r"out_spatial_shape is \[9, 9\]"):
        pairs_of(indices, [9, 9], shape, *sizes[:4])


@pytest.mark.parametrize("subm", [0, 1])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_products_of_1_2_take_filters_with_the_output_channels_last(ndim, subm):
    torch.manual_seed(0)
    shape, ones, size = SHAPES[ndim], [1] * ndim, [3] * ndim
    indices = random_indices(ndim, 25, shape, 2)
    stride, out_shape = (
        ([1] * ndim, shape)
        if subm
        else ([2] * ndim, conv_shape(shape, size, [2] * ndim, ones, ones))
    )
    rows, *lists = pairs_of(indices, out_shape, shape, size, stride, ones, ones, subm=subm)
    x = torch.randn(len(indices), 2, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(*size, 2, 3, dtype=torch.float64, requires_grad=True)
    bias, last = torch.randn(3, dtype=torch.float64), (len(rows), 0, subm)
    grid = downward(
        scattered(x, indices, 2, shape),
        filters.flatten(0, -3),
        Kernel(box_taps(size), stride, ones, ones),
        out_shape,
    )
    y, wanted = spconv1.indice_conv(x, filters, *lists, *last, 0), gathered(grid, rows)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(spconv1.indice_conv_batch(x, filters, *lists, *last, False), wanted)
    torch.testing.assert_close(
        spconv1.fused_indice_conv_bn(x, filters, bias, *lists, *last), y + bias
    )
    grad = torch.randn_like(y)
    grads = torch.autograd.grad(wanted, (x, filters), grad)
    torch.testing.assert_close(torch.autograd.grad(y, (x, filters), grad), grads)
    back = spconv1.indice_conv_backward(x, filters, grad, *lists, 0, subm, 0)
    torch.testing.assert_close(tuple(back), grads)
    if not subm:
        assert torch.autograd.gradcheck(
            lambda y, w: spconv1.indice_conv(y, w, *lists, len(indices), 1, 0, 0),
            (grad[:, :2].clone().requires_grad_(), filters),
        )


def test_pooling_of_1_2_is_the_maximum_and_its_gradient():
    indices, shape, sizes, (out, pairs, counts) = built("regular", 2)
    lists = pairs_of(indices, conv_shape(shape, *sizes[:4]), shape, *sizes[:4])[1:]
    x = (torch.randn(len(indices), 3) - 9).requires_grad_()
    y = spconv1.indice_maxpool(x, *lists, len(out))
    assert torch.equal(y, ops.indice_maxpool(x, pairs, counts, len(out)))
    assert (y < 0).any()
    grad = torch.randn_like(y)
    back = spconv1.indice_maxpool_backward(x, y, grad, *lists)
    assert torch.equal(back, torch.autograd.grad(y, x, grad)[0])


@pytest.mark.parametrize("subm", [0, 1])
def test_the_ops_of_1_2_are_registered_as_torch_wants_them(subm):
    indices = random_indices(2, 20, [7, 8], 2)
    shape = [7, 8] if subm else [4, 4]
    sizes = [7, 8], [3, 3], [2, 2], [1, 1], [1, 1], [0, 0]
    check = torch.library.opcheck
    check(spconv1.get_indice_pairs.default, (indices, 2, shape, *sizes, subm, 0, 0))
    rows, *lists = spconv1.get_indice_pairs(indices, 2, shape, *sizes, subm, 0, 0)
    x, filters = torch.randn(20, 2, requires_grad=True), torch.randn(3, 3, 2, 3, requires_grad=True)
    check(spconv1.indice_conv.default, (x, filters, *lists, len(rows), 0, subm, 0))
    grad = torch.randn(len(rows), 3)
    check(spconv1.indice_conv_backward.default, (x, filters, grad, *lists, 0, subm, 0))
    check(spconv1.indice_maxpool.default, (x, *lists, len(rows)))


TAKEN = """
import torch
other = torch.library.Library("spconv", "DEF")
other.define("indice_conv(Tensor x) -> Tensor")
try:
    from gossamer.compat.spconv1.torch_ops import register
    register()
except ImportError as error:
    print(error)
"""
APART = """
import torch
import gossamer.compat.spconv.pytorch.functional
print(hasattr(torch.ops.spconv, "indice_conv"))
"""


def printed_by(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_real_library_of_1_x_is_not_overruled():
    assert "torch.ops.spconv has indice_conv already" in printed_by(TAKEN)


def test_the_ops_of_1_2_are_not_there_beside_the_facade_of_2():
    assert printed_by(APART).strip() == "False"
    torch_ops.register()  # once more changes nothing
    assert all(hasattr(spconv1, name) for name in torch_ops.NAMES)
