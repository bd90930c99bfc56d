"""The modes of TorchSparse: what they choose, who is asked first, and the maps they lead to."""

import warnings

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given

from gossamer.compat import torchsparse
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse.nn import functional as F
from gossamer.compat.torchsparse.nn.functional.conv.conv_config import ordered, resolved
from gossamer.compat.torchsparse.nn.functional.conv.func import (
    FetchOnDemandConvolutionFuntion,
    GatherScatterConvolutionFuntion,
    ImplicitGEMMConvolutionFuntion,
)
from gossamer.compat.torchsparse.nn.functional.conv.utils import AttributeDict
from gossamer.compat.torchsparse.tensor import set_allow_negative_coordinates
from gossamer.ops import plans
from tests.compat import torchsparse_by_hand as by_hand
from tests.compat.torchsparse_by_hand import MODES, config, defaults, rows, tensor, weight_of

pytestmark = pytest.mark.usefixtures(defaults.__name__)
ONES = (1, 1, 1)
DEMAND = plans.Demand("conv", "sm_90", torch.float32, 64, 64, 27)


def sites_of(y: torchsparse.SparseTensor) -> list[tuple[int, ...]]:
    return [tuple(row) for row in y.C.tolist()]


def strided(x, size, stride, padding, mode, dilation=ONES):
    weight = weight_of(size)
    return weight, F.conv3d(x, weight, size, None, stride, padding, dilation, config(mode))


axes = st.tuples(*[st.integers(1, 4)] * 3)


@given(
    size=axes,
    stride=st.tuples(*[st.integers(1, 3)] * 3).filter(lambda s: max(s) > 1),
    padding=st.tuples(*[st.integers(0, 2)] * 3),
    mode=st.sampled_from(list(MODES)),
    low=st.integers(-9, 0),
    bounded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_below_zero_a_strided_layer_keeps_what_the_rule_names_rounded_down(
    size, stride, padding, mode, low, bounded, seed
):
    x = tensor(rows(25, low, seed=seed), spatial_range=(3, 9, 7, 8) if bounded else None)
    least = x.C[:, 1:].amin(0).tolist()
    bound = [
        min(0, v // s, (v - 2 * p + k - 1) // s)
        for v, s, p, k in zip(least, stride, padding, size, strict=True)
    ]
    wanted = by_hand.sites(x.C, size, stride, padding, ONES, mode, x.spatial_range, bound)
    assume(wanted)
    set_allow_negative_coordinates(True)
    weight, y = strided(x, size, stride, padding, mode)
    set_allow_negative_coordinates(False)
    assert sites_of(y) == wanted
    begin = by_hand.anchor(size, stride, padding, ONES, mode)
    dense = by_hand.convolved(x.C, x.F, weight, size, stride, ONES, begin, y.C)
    torch.testing.assert_close(y.F, dense, rtol=1e-9, atol=1e-9)


def test_a_wide_padding_reaches_below_the_first_cell_rounded_down():
    x = tensor(rows(low=-5))
    sizes = (6, 1, 1), (2, 1, 1), (3, 0, 0)
    set_allow_negative_coordinates(True)
    _, y = strided(x, *sizes, "on the fly")
    low = ((-5 - 6 + 5) // 2, -5, -5)
    assert sites_of(y) == by_hand.sites(x.C, *sizes, ONES, "on the fly", None, low)
    x.C[:, 1] += 1
    low = ((-4 - 6 + 5) // 2, -5, -5)
    assert sites_of(strided(x, *sizes, "on the fly")[1])[0][1] == low[0] == -3


def test_the_flag_counts_each_time_a_layer_runs():
    x = tensor(rows(low=-3))
    set_allow_negative_coordinates(True)
    strided(x, (3, 3, 3), (2, 2, 2), (1, 1, 1), "on the fly")
    set_allow_negative_coordinates(False)
    with pytest.raises(ValueError, match="set_allow_negative_coordinates"):
        strided(x, (3, 3, 3), (2, 2, 2), (1, 1, 1), "on the fly")


def test_coordinates_below_zero_are_refused_where_outputs_there_would_be_dropped():
    x = tensor(rows(low=-3))
    for mode in ("on the fly", "hashmap"):
        with pytest.raises(ValueError, match="set_allow_negative_coordinates"):
            strided(x, (3, 3, 3), (2, 2, 2), (1, 1, 1), mode)
    _, floored = strided(x, (3, 3, 3), (2, 2, 2), (1, 1, 1), "minkowski")
    assert floored.C[:, 1:].min() == -2
    kept = F.conv3d(x, weight_of(3), 3)
    assert kept.C is x.C


def test_the_rules_make_sets_of_different_sizes():
    x = tensor(rows(100, side=9))
    counts = {
        (mode, size): len(strided(x, (size,) * 3, (2, 2, 2), (size // 2,) * 3, mode)[1].C)
        for mode in MODES
        for size in (1, 3)
    }
    cells = len({(b, p // 2, q // 2, r // 2) for b, p, q, r in x.C.tolist()})
    even = len([row for row in x.C[:, 1:].tolist() if all(c % 2 == 0 for c in row)])
    assert counts["minkowski", 1] == counts["minkowski", 3] == cells
    assert counts["on the fly", 1] == counts["hashmap", 1] == even
    assert counts["on the fly", 3] == counts["hashmap", 3] > 1.5 * cells


def test_a_residual_block_with_a_strided_shortcut_adds_up_in_minkowski_mode_alone():
    x = tensor(rows(100, side=9))
    main, shortcut = (
        lambda mode, k=k: strided(x, (k,) * 3, (2, 2, 2), (k // 2,) * 3, mode)[1] for k in (3, 1)
    )
    assert (main("minkowski") + shortcut("minkowski")).F.shape == main("minkowski").F.shape
    with pytest.raises(ValueError, match='downsample_mode "minkowski"'):
        main("hashmap") + shortcut("hashmap")


@pytest.mark.parametrize("bounded", [False, True])
def test_an_extent_smaller_than_the_kernel_is_an_error_and_not_an_empty_tensor(bounded):
    x = tensor(torch.tensor([[0, 3, 3, 0]]).int(), spatial_range=(1, 8, 8, 1) if bounded else None)
    with pytest.raises(ValueError, match=r"every point would be dropped.*padding.*minkowski"):
        strided(x, (2, 2, 2), (2, 2, 2), (0, 0, 0), "on the fly")
    assert sites_of(strided(x, (2, 2, 2), (2, 2, 2), (0, 0, 0), "hashmap")[1]) == [(0, 1, 1, 0)]


@pytest.mark.parametrize(
    ("mode", "size", "stride", "padding", "wanted"),
    [
        ("on the fly", (3, 3, 3), (2, 2, 2), (1, 1, 1), (3, 5, 4, 4)),
        ("on the fly", (2, 2, 2), (2, 2, 2), (0, 0, 0), (3, 4, 3, 4)),
        ("hashmap", (2, 2, 2), (2, 2, 2), (0, 0, 0), (3, 5, 4, 4)),
        ("minkowski", (3, 3, 3), (2, 2, 2), (0, 0, 0), (3, 5, 4, 4)),
        ("hashmap", (3, 3, 3), (2, 1, 1), (0, 1, 1), (3, 4, 7, 8)),
    ],
)
def test_the_range_after_a_stride_holds_every_site(mode, size, stride, padding, wanted):
    x = tensor(rows(200), spatial_range=(3, 9, 7, 8))
    _, y = strided(x, size, stride, padding, mode)
    assert y.spatial_range == wanted
    assert all(c < n for c, n in zip(y.C.amax(0).tolist(), wanted, strict=True))
    assert y.dense().shape == (*wanted, 2)


def test_rows_outside_the_range_are_refused():
    for coords, spatial_range in (
        (rows(), (3, 7, 7, 6)),
        (rows(), (2, 7, 7, 7)),
        (rows(low=-1), (3, 9, 9, 9)),
    ):
        x = tensor(coords, spatial_range=spatial_range)
        with pytest.raises(ValueError, match=r"outside spatial_range .*enlarge"):
            F.conv3d(x, weight_of(3), 3)


# Who is asked


def window(x, **given) -> str:
    """The mode whose window a strided layer of size 3 and padding 0 has."""
    weight = torch.randn(27, 3, 2, dtype=torch.float64)
    y = F.conv3d(torchsparse.SparseTensor(x.F, x.C), weight, 3, None, 2, **given)
    for mode in MODES:
        if sites_of(y) == by_hand.sites(x.C, (3,) * 3, (2,) * 3, (0,) * 3, ONES, mode):
            begin = by_hand.anchor((3,) * 3, (2,) * 3, (0,) * 3, ONES, mode)
            dense = by_hand.convolved(x.C, x.F, weight, (3,) * 3, (2,) * 3, ONES, begin, y.C)
            if torch.allclose(dense, y.F):
                return mode
    return "none"


def test_a_layer_is_asked_before_all_layers_and_these_before_the_modes():
    x = tensor(rows(100))
    assert window(x) == "on the fly"
    F.set_kmap_mode("hashmap")
    assert window(x) == "hashmap"
    F.set_downsample_mode("minkowski")
    assert window(x) == "minkowski"
    cfg = F.conv_config.get_default_conv_config()
    cfg.kmap_mode = "hashmap_on_the_fly"
    F.conv_config.set_global_conv_config(cfg)
    assert window(x) == "on the fly"
    assert window(x, config={"kmap_mode": "hashmap", "downsample_mode": "spconv"}) == "hashmap"
    assert window(x, config={"kmap_mode": "hashmap"}) == "minkowski"
    F.conv_config.clear_global_conv_config()
    assert window(x) == "minkowski"
    F.set_downsample_mode("spconv")
    F.set_kmap_mode("hashmap_on_the_fly")
    assert window(x) == "on the fly"


def test_on_the_fly_the_downsample_mode_does_not_count():
    F.set_downsample_mode("minkowski")
    assert window(tensor(rows(100))) == "on the fly"


def test_the_config_of_a_layer_counts_for_it_alone():
    x = tensor(rows(100), dtype=torch.float32)
    own = spnn.Conv3d(3, 2, 3, 2, 1, config=config("minkowski"))
    usual = spnn.Conv3d(3, 2, 3, 2, 1)
    assert len(own(x).C) < len(usual(x).C)


@pytest.mark.parametrize(
    ("mode", "wanted"), [(0, "natural"), (1, "sorted"), (2, "planes"), (0, "natural")]
)
def test_a_conv_mode_orders_rows_as_it_says_also_after_another(mode, wanted):
    F.set_conv_mode(2)
    F.conv_config.get_default_conv_config(F.get_conv_mode())
    F.set_conv_mode(F.ConvMode(mode) if mode else mode)
    assert F.get_conv_mode() is F.ConvMode(mode)
    with ordered(resolved(None, False)):
        assert plans.choose(DEMAND, 0).dataflow == wanted


def test_a_layer_runs_in_the_order_of_its_mode(monkeypatch):
    seen = []
    real = torchsparse.nn.functional.conv.conv.through

    def through(*given):
        seen.append(plans.choose(DEMAND, 0).dataflow)
        return real(*given)

    monkeypatch.setattr(torchsparse.nn.functional.conv.conv, "through", through)
    for mode in (1, 2, 0):
        F.set_conv_mode(mode)
        F.conv3d(tensor(rows()), weight_of(3), 3)
    F.conv3d(tensor(rows()), weight_of(3), 3, config={"ifsort": True})
    assert seen == ["sorted", "planes", "natural", "sorted"]


def test_every_default_config_is_a_new_one_with_the_fields_of_the_mode():
    one, two, three = map(F.conv_config.get_default_conv_config, F.ConvMode)
    told = [(c.ifsort, c.split_mask_num, c.split_mask_num_bwd) for c in (one, two, three)]
    assert told == [(False, 1, 3), (True, 1, 3), (True, 3, 3)]
    one.ifsort = True
    again = F.get_default_conv_config()
    assert again is not one and again.ifsort is False
    assert (again.dataflow, again.epsilon, again.mm_thresh) == (F.Dataflow.ImplicitGEMM, 0.0, 0)
    assert (again.kmap_mode, again.downsample_mode) == ("hashmap_on_the_fly", "spconv")
    assert again["FOD_fusion"] is True


def test_a_global_config_is_completed_with_a_warning_and_none_without():
    given = {"kmap_mode": "hashmap"}
    with pytest.warns(UserWarning, match="no dataflow, ifsort"):
        F.conv_config.set_global_conv_config(given)
    assert F.conv_config.get_global_conv_config() is given
    assert set(given) == set(F.get_default_conv_config())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.conv_config.set_global_conv_config(F.get_default_conv_config())


@pytest.mark.parametrize("flow", [0, 1, 2])
def test_dataflows_give_the_same_results(flow):
    x, weight = tensor(rows()), weight_of(3)
    y = F.conv3d(x, weight, 3, config={"dataflow": F.Dataflow(flow)})
    torch.testing.assert_close(y.F, F.conv3d(x, weight, 3).F)


@pytest.mark.parametrize(
    ("setter", "wrong"),
    [(F.set_conv_mode, 3), (F.set_kmap_mode, "grid"), (F.set_downsample_mode, "floor")],
)
def test_there_is_no_other_mode(setter, wrong):
    with pytest.raises(AssertionError, match=repr(wrong)):
        setter(wrong)


def test_a_config_is_a_dict_whose_keys_are_attributes():
    cfg = AttributeDict({"a": 1, "b": {"c": 2}})
    cfg.d = 3
    cfg.b.c = 4
    del cfg.a
    assert cfg == {"b": {"c": 4}, "d": 3}
    other = cfg.copy()
    other.d = 5
    assert (cfg.d, other.d, cfg.setdefault("d", 6), cfg.to_dict()) == (3, 5, 3, dict(cfg))
    for broken in (lambda: cfg.a, lambda: delattr(cfg, "a")):
        with pytest.raises(AttributeError, match="'a'"):
            broken()


# Maps on their own


@pytest.mark.parametrize("generative", [False, True])
@pytest.mark.parametrize("mode", ["hashmap", "hashmap_on_the_fly"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (2, 1), (2, 2), (3, 2)])
def test_a_kernel_map_says_which_row_feeds_which_through_which_tap(mode, size, stride, generative):
    x, weight = tensor(rows(150)), weight_of(size)
    kmap = F.build_kernel_map(
        x.C, len(x.C), size, stride, spatial_range=(3, 7, 7, 7), mode=mode, generative=generative
    )
    table, (inputs, outputs) = kmap["out_in_map"], kmap["sizes"]
    settings = {"kmap_mode": mode}
    x.spatial_range = (3, 7, 7, 7)
    y = F.conv3d(x, weight, size, None, stride, 0, 1, settings, generative, generative)
    assert (inputs, outputs) == (len(x.C), len(y.C))
    assert table.shape == (-(-outputs // 128) * 128, size**3) and table.dtype == torch.int32
    assert torch.equal(kmap["coords"], y.C) and kmap["spatial_range"] == y.spatial_range
    padded = torch.cat([x.F, x.F.new_zeros(1, 3)])
    total = torch.einsum("mkc,kcd->md", padded[table.long()], weight)
    torch.testing.assert_close(total[:outputs], y.F)
    assert (table[outputs:] == -1).all()
    pairs = [
        (int(table[m, k]), m) for k in range(size**3) for m in range(outputs) if table[m, k] >= 0
    ]
    assert kmap["nbmaps"].tolist() == [list(pair) for pair in pairs]
    assert kmap["nbsizes"].tolist() == (table >= 0).sum(0).tolist()
    back = F.transpose_kernel_map(kmap)["out_in_map_t"]
    assert torch.equal(back, kmap["out_in_map_bwd"])
    assert back.shape == (-(-inputs // 128) * 128, size**3)
    assert all(
        int(back[int(table[m, k]), k]) == m
        for k in range(2)
        for m in range(outputs)
        if table[m, k] >= 0
    )
    assert kmap["reorder_loc"] is None and kmap.get("nothing", 7) == 7
    with pytest.raises(KeyError):
        kmap["nothing"]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        ImplicitGEMMConvolutionFuntion,
        GatherScatterConvolutionFuntion,
        FetchOnDemandConvolutionFuntion,
    ],
)
def test_a_convolution_runs_along_a_map_that_is_given(function, transposed):
    x = tensor(rows())
    weight = weight_of(2)
    y = F.conv3d(x, weight, 2, None, 2)
    up = F.conv3d(y, weight.mT.contiguous(), 2, None, 2, transposed=True)
    kmap = F.build_kernel_map(x.C, len(x.C), 2, 2, mode="hashmap_on_the_fly")
    plain = {key: kmap[key] for key in ("out_in_map", "sizes")}
    given, wanted = (y.F, up.F) if transposed else (x.F, y.F)
    kernel = weight.mT.contiguous() if transposed else weight
    for one in (kmap, plain):
        torch.testing.assert_close(function.apply(given, kernel, one, None, transposed), wanted)


def test_sites_come_without_a_map_too():
    coords = rows(100)
    for size, padding, mode in (
        (3, 1, "spconv"),
        (3, 0, "spconv"),
        (2, 0, "spconv"),
        (3, 0, "minkowski"),
    ):
        sizes = (size,) * 3, (2,) * 3, (padding,) * 3, ONES
        named = "minkowski" if mode == "minkowski" else "hashmap"
        came = F.spdownsample(coords, 2, size, padding, None, mode)
        assert [tuple(row) for row in came.tolist()] == by_hand.sites(coords, *sizes, named)
    within = F.spdownsample(coords, 2, 3, 1, (3, 2, 2, 2))
    sizes = (3,) * 3, (2,) * 3, (1,) * 3, ONES
    every = by_hand.sites(coords, *sizes, "hashmap")
    assert [tuple(row) for row in within.tolist()] == [row for row in every if max(row[1:]) < 2]
    with pytest.raises(AssertionError, match="downsample_mode is 'floor'"):
        F.spdownsample(coords, downsample_mode="floor")


def test_a_map_that_is_not_there_can_not_be_turned():
    with pytest.raises(ValueError, match="kmap is None"):
        F.transpose_kernel_map(None)
    with pytest.raises(ValueError, match="unknown mode: 'grid'"):
        F.build_kernel_map(rows(), 60, mode="grid")
    with pytest.raises(ValueError, match="input_node_num is 61"):
        F.build_kernel_map(rows(), 61)
    with pytest.raises(ValueError, match="size is 3"):
        F.convert_transposed_out_in_map(torch.tensor([[3]]).int(), 3)
