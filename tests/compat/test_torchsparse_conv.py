"""TorchSparse's convolution is dense convolution, on the sites that its formulas name."""

import pytest
import torch
from torch import nn

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F
from tests.compat import torchsparse_by_hand as by_hand
from tests.compat.torchsparse_by_hand import MODES, config, defaults, rows, tensor, weight_of
from tests.scenes import covering

pytestmark = pytest.mark.usefixtures(defaults.__name__)
SIZES = [(k,) * 3 for k in range(1, 6)] + [(3, 3, 2), (1, 3, 3), (2, 1, 3), (4, 1, 2)]
STRIDES = [(2, 2, 2), (3, 3, 3), (2, 1, 1), (1, 3, 2)]
PADDINGS = [(0, 0, 0), (1, 1, 1), (0, 1, 2), (2, 2, 2)]
DILATIONS = [(1, 1, 1), (2, 2, 2), (1, 2, 1)]
STRIDED = covering(
    2,
    size=SIZES,
    stride=STRIDES,
    padding=PADDINGS,
    dilation=DILATIONS,
    mode=list(MODES),
    bounded=[False, True],
    bias=[False, True],
)
TRANSPOSED = covering(
    2,
    size=SIZES[1:],
    stride=STRIDES[:3],
    padding=PADDINGS[1:],
    mode=list(MODES),
    bounded=[False, True],
)
KEEPING = covering(2, size=SIZES, dilation=DILATIONS, mode=list(MODES), bounded=[False, True])
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def name(case: dict) -> str:
    return " ".join(str(v).replace(", ", "") for v in case.values())


def range_of(bounded: bool) -> tuple[int, ...] | None:
    return (by_hand.BATCH, 9, 7, 8) if bounded else None


def close(came: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(came, wanted, rtol=1e-9, atol=1e-9)


def same_gradients(came, wanted, *sources) -> None:
    """The gradients of two results with respect to the same sources."""
    towards = torch.randn_like(wanted)
    for one, other in zip(
        torch.autograd.grad((came * towards).sum(), sources),
        torch.autograd.grad((wanted * towards).sum(), sources),
        strict=True,
    ):
        close(one, other)


@pytest.mark.parametrize("case", STRIDED, ids=name)
def test_a_strided_layer_is_dense_convolution_on_the_sites_of_the_rule(case):
    size, stride, padding, dilation, mode = list(case.values())[:5]
    x = tensor(rows(), spatial_range=range_of(case["bounded"]), grad=True)
    if size == (1, 1, 1):
        padding = (0, 0, 0)
    weight = weight_of(size, grad=True)
    bias = torch.randn(2, dtype=torch.float64) if case["bias"] else None
    sizes = size, stride, padding, dilation
    wanted = by_hand.sites(x.C, *sizes, mode, x.spatial_range)
    if not wanted:
        with pytest.raises(ValueError, match="every point would be dropped"):
            F.conv3d(x, weight, size, bias, *sizes[1:], config(mode))
        return
    y = F.conv3d(x, weight, size, bias, *sizes[1:], config(mode))
    assert [tuple(row) for row in y.C.tolist()] == wanted
    assert y.s == stride
    begin = by_hand.anchor(*sizes, mode)
    dense = by_hand.convolved(x.C, x.F, weight, size, stride, dilation, begin, y.C)
    close(y.F, dense if bias is None else dense + bias)
    same_gradients(y.F, dense, x.F, weight)


@pytest.mark.parametrize("case", KEEPING, ids=name)
def test_a_layer_of_stride_one_keeps_rows_and_range_and_is_dense_convolution(case):
    size, dilation, mode, bounded = case.values()
    x = tensor(rows(), spatial_range=range_of(bounded), grad=True)
    weight = weight_of(size, grad=True)
    y = F.conv3d(x, weight, size, dilation=dilation, config=config(mode))
    assert y.C is x.C
    assert y.spatial_range == x.spatial_range
    begin = by_hand.anchor(size, (1, 1, 1), None, dilation, mode)
    dense = by_hand.convolved(x.C, x.F, weight, size, (1, 1, 1), dilation, begin, x.C)
    close(y.F, dense)
    same_gradients(y.F, dense, x.F, weight)


@pytest.mark.parametrize("case", TRANSPOSED, ids=name)
def test_a_transposed_layer_is_dense_transposed_convolution_at_the_finer_sites(case):
    size, stride, padding, mode, bounded = case.values()
    fine = tensor(rows(), spatial_range=range_of(bounded))
    down, up = weight_of(size), weight_of(size, 2, 3, grad=True)
    sizes = size, stride, padding, (1, 1, 1)
    x = F.conv3d(fine, down, size, None, *sizes[1:], config(mode))
    x.F = torch.randn(len(x.C), 2, dtype=torch.float64, requires_grad=True)
    y = F.conv3d(x, up, size, None, *sizes[1:], config(mode), transposed=True)
    assert y.C is fine.C
    assert (y.s, y.spatial_range) == ((1, 1, 1), fine.spatial_range)
    begin = by_hand.anchor(*sizes, mode)
    dense = by_hand.transposed(x.C, x.F, up, size, stride, (1, 1, 1), begin, y.C)
    close(y.F, dense)
    same_gradients(y.F, dense, x.F, up)


@pytest.mark.parametrize("size", [(2, 2, 2), (3, 3, 3), (3, 3, 2)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_layer_is_the_adjoint_of_the_layer_it_undoes(size, stride):
    fine = tensor(rows())
    weight = weight_of(size)
    coarse = F.conv3d(fine, weight, size, None, stride, 1)
    towards = coarse._with(coarse._values)
    towards.F = torch.randn_like(coarse.F)
    y = F.conv3d(towards, weight.mT.contiguous(), size, None, stride, 1, transposed=True)
    close((coarse.F * towards.F).sum(), (fine.F * y.F).sum())


def test_a_transposed_layer_reads_the_forward_map_whatever_its_own_padding_says():
    fine = tensor(rows())
    x = F.conv3d(fine, weight_of(3, 3, 2), 3, None, 2, padding=1)
    up = weight_of(3, 2, 3)
    y = F.conv3d(x, up, 3, None, 2, transposed=True)
    close(y.F, F.conv3d(x, up, 3, None, 2, padding=1, transposed=True).F)


def test_of_two_layers_that_led_here_a_transposed_one_undoes_that_of_its_own_padding():
    # On two cells an axis, a window of two every three meets a site at 0 alone, with padding too.
    fine = tensor(rows(16, side=2))
    one, other = (F.conv3d(fine, weight_of(2), 2, None, 3, p) for p in (0, 1))
    assert one.C is other.C
    weight = weight_of(2, 2, 3)
    for begin in (0, 1):
        y = F.conv3d(one, weight, 2, None, 3, begin, transposed=True)
        sizes = (2,) * 3, (3,) * 3, (1,) * 3, (begin,) * 3
        close(y.F, by_hand.transposed(one.C, one.F, weight, *sizes, y.C))


@pytest.mark.parametrize(("down", "up"), [(3, 2), (2, 3), (3, 5)])
def test_a_transposed_layer_of_another_kernel_leads_back_too(down, up):
    fine = tensor(rows())
    x = F.conv3d(fine, weight_of(down, 3, 2), down, None, 2, 1)
    weight = weight_of(up, 2, 3)
    y = F.conv3d(x, weight, up, None, 2, 1, transposed=True)
    assert y.C is fine.C
    close(y.F, by_hand.transposed(x.C, x.F, weight, (up,) * 3, (2,) * 3, (1,) * 3, (1,) * 3, y.C))


def test_a_pruned_tensor_leads_back_to_all_finer_sites():
    fine = tensor(rows())
    x = F.conv3d(fine, weight_of(2, 3, 2), 2, None, 2)
    keep = torch.arange(len(x.C)) % 3 > 0
    pruned = torchsparse.SparseTensor(x.F[keep], x.C[keep], x.s)
    pruned._caches = x._caches
    weight = weight_of(2, 2, 3)
    y = F.conv3d(pruned, weight, 2, None, 2, transposed=True)
    assert y.C is fine.C
    zeroed = x._with(x._values)
    zeroed.F = x.F * keep.unsqueeze(1)
    close(y.F, F.conv3d(zeroed, weight, 2, None, 2, transposed=True).F)


def test_two_branches_of_one_stride_each_lead_back_to_their_own_sites():
    top = tensor(rows(120))
    one = F.conv3d(top, weight_of(3, 3, 3), 3, None, 2, 1)
    other = F.conv3d(top, weight_of(1, 3, 3), 1, None, 2)
    assert len(one.C) != len(other.C)
    for branch in (one, other):
        low = F.conv3d(branch, weight_of(3, 3, 3), 3, None, 2, 1)
        for size in (3, 2):
            up = weight_of(size, 3, 3)
            assert F.conv3d(low, up, size, None, 2, 1, transposed=True).C is branch.C


def test_without_finer_sites_a_transposed_layer_says_how_to_have_them():
    x = tensor(rows())
    x.s = 2
    with pytest.raises(ValueError, match=r"no sites of stride \(1, 1, 1\) are known.*generative"):
        F.conv3d(x, weight_of(2), 2, None, 2, transposed=True)
    fine = rows(80, seed=1)
    x._caches.cmaps[1, 1, 1] = (fine, None)
    weight = weight_of(2)
    y = F.conv3d(x, weight, 2, None, 2, transposed=True)
    assert y.C is fine
    close(y.F, by_hand.transposed(x.C, x.F, weight, (2,) * 3, (2,) * 3, (1,) * 3, (0,) * 3, fine))


def test_layers_that_lead_to_the_same_sites_lead_to_the_same_rows_and_maps():
    fine = tensor(rows())
    one, other = (
        F.conv3d(fine, weight_of(k), k, None, 2, k // 2, config=config("minkowski")) for k in (3, 1)
    )
    assert one.C is other.C
    assert (one + other).C is one.C


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (2, 2), (1, 1)])
def test_every_dtype_gives_the_numbers_of_float64(backend, dtype, size, stride):
    x = tensor(rows(100), 8, dtype=dtype)
    conv = spnn.Conv3d(8, 5, size, stride, size // 2, bias=True).to(dtype)
    exact = tensor(x.C, 8)
    exact.F = x.F.double()
    y = conv(x)
    wanted = conv.double()(exact).F
    assert y.F.dtype == dtype
    torch.testing.assert_close(y.F.double(), wanted, rtol=0, atol=40 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_one_operand_of_16_bits_makes_both_so_and_the_result_has_the_dtype_of_the_weight(
    half, size
):
    conv = spnn.Conv3d(4, 4, size, bias=True)
    x = tensor(rows(), 4, dtype=torch.float32)
    wanted = conv(x).F
    x.F = x.F.to(half)
    y = conv(x)
    assert y.F.dtype == torch.float32
    torch.testing.assert_close(y.F, wanted, rtol=0, atol=20 * torch.finfo(half).eps)
    assert not torch.equal(y.F, wanted)
    x.F = x.F.double()
    with pytest.raises(TypeError, match=r"feats are torch.float64 and the kernel is torch.float32"):
        conv(x)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("train", [False, True])
def test_autocast_computes_in_its_dtype_and_gives_gradients_in_the_parameters(size, train):
    conv = spnn.Conv3d(4, 4, size, bias=True).train(train)
    x = tensor(rows(), 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.F.dtype == torch.bfloat16
    y.F.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in conv.parameters())
    torch.testing.assert_close(y.F.float(), conv(x).F, rtol=0, atol=0.05)


@pytest.mark.parametrize("way", ["keeping", "strided", "transposed", "generative"])
def test_gradients_are_those_of_finite_differences_in_eval_mode_too(cpu_backend, way):
    coords = rows(12, side=3)
    up = way in ("transposed", "generative")
    stride = 1 if way == "keeping" else 2
    conv = spnn.Conv3d(2, 2, 2, stride, 0, 1, True, up, way == "generative").double().eval()
    x = torchsparse.SparseTensor(torch.randn(12, 2), coords)
    if up:
        x = spnn.Conv3d(2, 2, 2, 2)(x)
    feats = torch.randn(len(x.C), 2, dtype=torch.float64, requires_grad=True)

    def run(feats, kernel, bias):
        given = x._with(x._values)
        given.F = feats
        return torch.func.functional_call(conv, {"kernel": kernel, "bias": bias}, given).F

    assert torch.autograd.gradcheck(run, (feats, conv.kernel, conv.bias))


def test_maps_built_without_gradients_serve_training_later():
    x = tensor(rows(), dtype=torch.float32)
    conv = spnn.Conv3d(3, 3, 3, 2, 1)
    with torch.inference_mode():
        wanted = conv(x).F
    y = conv(x)
    y.F.sum().backward()
    assert conv.kernel.grad is not None
    assert torch.equal(y.F, wanted)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_order_of_rows_follows_the_caller_and_changes_no_result(stride):
    coords = rows(100)
    weight = weight_of(3)
    x = tensor(coords)
    order = torch.randperm(len(coords))
    shuffled = torchsparse.SparseTensor(x.F[order], coords[order])
    y, z = (F.conv3d(t, weight, 3, None, stride, 1) for t in (x, shuffled))
    if stride == 1:
        close(z.F, y.F[order])
    else:
        assert torch.equal(z.C, y.C)
        close(z.F, y.F)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_of_several_rows_at_a_place_all_count(stride, dtype):
    coords = rows(30).to(dtype)
    twice = torch.cat([coords, coords[:10], coords[:5]])
    x = tensor(twice)
    total = torch.zeros(30, 3, dtype=torch.float64)
    total.index_add_(0, torch.cat([torch.arange(30), torch.arange(10), torch.arange(5)]), x.F)
    weight = weight_of(2)
    y = F.conv3d(x, weight, 2, None, stride)
    z = F.conv3d(torchsparse.SparseTensor(total, coords), weight, 2, None, stride)
    assert torch.equal(y.C[: len(z.C)], z.C)
    close(y.F[: len(z.C)], z.F)
    if stride == 1:
        close(y.F[30:40], z.F[:10])


@pytest.mark.parametrize("way", ["keeping", "strided", "floored", "transposed", "generative"])
@pytest.mark.parametrize("bounded", [False, True])
def test_without_rows_there_is_an_empty_result_with_gradients(backend, way, bounded):
    x = tensor(rows(0), spatial_range=range_of(bounded), dtype=torch.float32, grad=True)
    up = way in ("transposed", "generative")
    if up:
        x = spnn.Conv3d(3, 3, 2, 2)(x)
    stride = 1 if way == "keeping" else 2
    settings = config("minkowski" if way == "floored" else "on the fly")
    conv = spnn.Conv3d(3, 4, 3, stride, 1, 1, True, up, way == "generative", settings)
    y = spnn.ReLU()(conv(x))
    assert (y.F.shape, y.C.shape) == ((0, 4), (0, 4))
    y.F.sum().backward()
    assert conv.kernel.grad is not None and not conv.kernel.grad.any()


def test_a_single_site_sees_itself_through_the_middle_tap():
    x = tensor(torch.tensor([[4, 5, 5, 5]], dtype=torch.int32))
    for size in (1, 3, 5):
        weight = weight_of(size)
        close(F.conv3d(x, weight, size).F, x.F @ weight[size**3 // 2])


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_conv_modes_give_the_same_results(backend, mode):
    x = tensor(rows(120), 8, dtype=torch.float32, grad=True)
    net = nn.Sequential(
        spnn.Conv3d(8, 8, 3), spnn.Conv3d(8, 8, 2, 2), spnn.Conv3d(8, 8, 2, 2, transposed=True)
    )
    wanted = net(x).F
    F.set_conv_mode(mode)
    fresh = torchsparse.SparseTensor(x.F, x.C)
    came = net(fresh).F
    torch.testing.assert_close(came, wanted)
    towards = torch.randn_like(wanted)
    one, other = (torch.autograd.grad((y * towards).sum(), x.F) for y in (came, wanted))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"weight": torch.zeros(8, 3, 2)}, r"kernel has shape \(8, 3, 2\); wanted \[27, C_in"),
        ({"weight": torch.zeros(27, 4, 2)}, "feats has 3 channels; this layer was built for 4"),
        ({"stride": 0}, r"stride is \(0, 0, 0\)"),
        ({"padding": -1}, r"padding is \(-1, -1, -1\)"),
        ({"config": {"dataflow": F.Dataflow.CodedCSR}}, "unsupported dataflow"),
        ({"config": {"kmap_mode": "grid"}}, "kmap_mode is 'grid'; wanted one of"),
        ({"config": {"downsample_mode": "floor"}}, "downsample_mode is 'floor'; wanted one of"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_so(wrong, told):
    given = {"weight": torch.zeros(27, 3, 2), "kernel_size": 3, **wrong}
    with pytest.raises(ValueError, match=told):
        F.conv3d(tensor(rows(), dtype=torch.float32), **given)


def test_an_error_names_the_layer_it_comes_from():
    net = nn.Sequential(nn.Identity(), spnn.Conv3d(4, 4, 3))
    with pytest.raises(ValueError, match=r"in layer 1 \(Conv3d\): feats has 3 channels"):
        net(tensor(rows(), dtype=torch.float32))


@pytest.mark.parametrize("generative", [False, True])
def test_a_stride_that_is_no_multiple_of_the_layers_can_not_be_undone(generative):
    fine = tensor(rows())
    x = F.conv3d(fine, weight_of(3, 3, 3), 3, None, 3, 1)
    with pytest.raises(ValueError, match=r"stride \(3, 3, 3\), which .* \(2, 2, 2\) does not"):
        F.conv3d(x, weight_of(2), 2, None, 2, transposed=True, generative=generative)
    if not generative:
        with pytest.raises(ValueError, match=r"stride \(1, 1, 1\), which .* not divide"):
            F.conv3d(fine, weight_of(2), 2, None, 2, transposed=True)
