"""A generative layer of TorchSparse's is a true transposed convolution onto all children."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F
from gossamer.compat.torchsparse.tensor import set_allow_negative_coordinates
from tests.compat import torchsparse_by_hand as by_hand
from tests.compat.torchsparse_by_hand import config, defaults, rows, tensor, weight_of
from tests.scenes import covering

pytestmark = pytest.mark.usefixtures(defaults.__name__)
CASES = covering(
    2,
    size=[(2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 5), (3, 3, 2), (1, 2, 3), (1, 1, 1)],
    stride=[(2, 2, 2), (3, 3, 3), (1, 2, 1), (1, 1, 1)],
    padding=[(0, 0, 0), (1, 1, 1), (0, 1, 2)],
    dilation=[(1, 1, 1), (2, 2, 2)],
    mode=["on the fly", "hashmap"],
    bounded=[True, False],
    negative=[False, True],
)
# A kernel of one tap at stride 1 keeps the sites.
CASES = [case for case in CASES if (case["size"], case["stride"]) != ((1, 1, 1), (1, 1, 1))]


def name(case: dict) -> str:
    return " ".join(str(v).replace(", ", "") for v in case.values())


def children(coords, size, stride, dilation, begin, grown, negative) -> list[tuple[int, ...]]:
    found = set()
    for b, *point in coords.tolist():
        for tap in by_hand.taps(size):
            axes = zip(point, stride, tap, dilation, begin, strict=True)
            cell = tuple(c * s + t * d - a for c, s, t, d, a in axes)
            within = grown is None or all(v < n for v, n in zip(cell, grown[1:], strict=True))
            if within and (negative or min(cell) >= 0):
                found.add((b, *cell))
    return sorted(found)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_all_children_get_their_parents_and_the_range_grows(case):
    size, stride, padding, dilation, mode, bounded, negative = case.values()
    x = tensor(rows(20, side=4), spatial_range=(3, 4, 5, 4) if bounded else None, grad=True)
    set_allow_negative_coordinates(negative)
    grown = None
    if bounded:
        full = functional.conv_transpose3d(
            torch.zeros(1, 1, 4, 5, 4),
            torch.zeros(1, 1, *size),
            None,
            stride,
            padding,
            0,
            1,
            dilation,
        )
        grown = (3, *full.shape[2:])
    sizes = None, stride, padding, dilation
    weight = weight_of(size, grad=True)
    y = F.conv3d(x, weight, size, *sizes, config(mode), True, True)
    begin = tuple(padding)
    if mode == "hashmap":
        begin = tuple((k - 1) // 2 * d for k, d in zip(size, dilation, strict=True))
    wanted = children(x.C, size, stride, dilation, begin, grown, negative)
    assert [tuple(row) for row in y.C.tolist()] == wanted
    assert y.spatial_range == grown
    dense = by_hand.transposed(x.C, x.F, weight, size, stride, dilation, begin, y.C)
    torch.testing.assert_close(y.F, dense)
    towards = torch.randn_like(dense)
    for one, other in zip(
        torch.autograd.grad((y.F * towards).sum(), (x.F, weight)),
        torch.autograd.grad((dense * towards).sum(), (x.F, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_each_of_eight_children_gets_its_own_tap():
    x = tensor(rows(20))
    weight = weight_of(2)
    y = F.conv3d(x, weight, 2, None, 2, transposed=True, generative=True)
    assert len(y.C) == 8 * len(x.C)
    parent = {tuple(row): feats for row, feats in zip(x.C.tolist(), x.F, strict=True)}
    for (b, *cell), feats in zip(y.C.tolist(), y.F, strict=True):
        tap = by_hand.taps((2, 2, 2)).index(tuple(c % 2 for c in cell))
        torch.testing.assert_close(feats, parent[(b, *(c // 2 for c in cell))] @ weight[tap])


def test_new_sites_take_the_place_of_those_known_at_their_stride():
    x = tensor(rows(40), dtype=torch.float32)
    low = spnn.Conv3d(3, 3, 2, 2)(x)
    assert low._caches.cmaps[1, 1, 1][0] is x.C
    up = spnn.Conv3d(3, 3, 2, 2, transposed=True, generative=True)(low)
    assert up.s == (1, 1, 1) and len(up.C) > len(x.C)
    assert low._caches.cmaps[1, 1, 1][0] is up.C
    # What came from the old ones leads back to the old ones all the same.
    assert spnn.Conv3d(3, 3, 2, 2, transposed=True)(low).C is x.C
    again = spnn.Conv3d(3, 3, 2, 2)(up)
    assert torch.equal(again.C, low.C)
    assert spnn.Conv3d(3, 3, 2, 2, transposed=True)(again).C is up.C


def test_a_decoder_made_of_generative_layers_starts_at_any_stride():
    x = tensor(torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]).int(), dtype=torch.float32)
    net = nn.Sequential(
        *[spnn.Conv3d(3, 3, 2, 2, transposed=True, generative=True) for _ in range(3)]
    )
    y = net(x)
    assert len(y.C) == 2 * 8**3 and y.s == (1, 1, 1)
    net(x)
    assert torch.equal(net(x).F, y.F)


def test_generative_without_transposed_is_refused():
    with pytest.raises(AssertionError, match="transposed=True"):
        spnn.Conv3d(3, 3, 2, 2, generative=True)


def test_children_below_zero_of_rows_below_zero_need_the_flag():
    x = tensor(rows(low=-2))
    with pytest.raises(ValueError, match="set_allow_negative_coordinates"):
        F.conv3d(x, weight_of(2), 2, None, 2, transposed=True, generative=True)
    set_allow_negative_coordinates(True)
    y = F.conv3d(x, weight_of(2), 2, None, 2, transposed=True, generative=True)
    assert y.C[:, 1:].min() == -4


def test_a_range_that_nothing_is_left_of_is_an_error():
    x = tensor(torch.tensor([[0, 0, 0, 0]]).int(), spatial_range=(1, 1, 1, 1))
    with pytest.raises(ValueError, match="every point would be dropped"):
        F.conv3d(x, weight_of(2), 2, None, 2, 1, transposed=True, generative=True)


@pytest.mark.parametrize("end", [None, (3, 5, 9, 6)])
def test_the_sites_come_without_a_layer_too(end):
    coords = rows(30)
    came = F.spupsample_generative(coords, 2, 3, spatial_range=end)
    wanted = children(coords, (3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), end, False)
    assert [tuple(row) for row in came.tolist()] == wanted


def test_the_sum_of_generated_tensors_lies_on_the_union_of_their_sites():
    one, other = (tensor(rows(40, seed=seed), spatial_range=(3, 7, 7, 9 - seed)) for seed in (0, 1))
    one.F.requires_grad_()
    y = torchsparse.generative_add(one, other)
    total: dict = {}
    for t in (one, other):
        for row, feats in zip(t.C.tolist(), t.F, strict=True):
            total[tuple(row)] = total.get(tuple(row), 0) + feats
    assert [tuple(row) for row in y.C.tolist()] == sorted(total)
    torch.testing.assert_close(y.F, torch.stack([total[key] for key in sorted(total)]))
    assert (y.s, y.spatial_range) == (one.s, (3, 7, 7, 9))
    assert y._caches is one._caches
    y.F.sum().backward()
    assert (one.F.grad == 1).all()
    assert F.conv3d(y, weight_of(3), 3).C is y.C
    other.s = 2
    with pytest.raises(ValueError, match=r"strides are \(1, 1, 1\) and \(2, 2, 2\)"):
        torchsparse.generative_add(one, other)
