"""A weight in every library's layout, into every other's and back, to the bit."""

from dataclasses import replace
from itertools import permutations, product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossamer.convert import Options, convert_state_dict
from tests.convert.libraries import FORMATS, Layer, checkpoint, same

PAIRS = list(product(FORMATS, FORMATS))
SIZES = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 3, 3), (3, 1, 1), (2, 1, 2), (4, 4, 4), (3, 3, 2)]
NETWORK = [
    Layer("net.0", (3, 3, 3), (13, 16), norm="net.1"),
    Layer("net.3", (1, 3, 3), (16, 16), bias=True),
    Layer("deep.conv1", (2, 2, 2), (16, 24), strided=True, norm="deep.bn1"),
    Layer("deep.conv2", (1, 1, 1), (24, 12), bias=True, norm="deep.bn2"),
    Layer("deep.conv3", (1, 1, 1), (12, 14), strided=True, norm="deep.bn3"),
    Layer("out", (3, 1, 1), (14, 12), norm="norm"),
]
SAID = Options(
    kernels=(("*net.3*", (1, 3, 3)), ("*out*", (3, 1, 1))), strided=("*deep.conv3",), names="keep"
)


def said(layers: list[Layer]) -> Options:
    """All that a state_dict of these layers does not say."""
    strided = [layer.name for layer in layers if prod(layer.size) == 1 and layer.strided]
    return Options(
        kernels=tuple((f"*{layer.name}", layer.size) for layer in layers),
        strided=tuple(f"*{name}" for name in strided),
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_converted_network_is_the_one_that_the_other_library_writes(source, target):
    given_, wanted = checkpoint(NETWORK, source), checkpoint(NETWORK, target)
    new, report = convert_state_dict(given_, source, target, SAID)
    assert same(new, wanted) and all(value.is_contiguous() for value in new.values())
    back, _ = convert_state_dict(new, report.back.source, report.back.target, report.back.options)
    assert same(back, given_)


@st.composite
def networks(draw):
    sizes = draw(st.lists(st.sampled_from(SIZES), min_size=1, max_size=3))
    channels = st.integers(12, 20)
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]))
    return [
        Layer(
            f"layer{at}.conv",
            size,
            (draw(channels), draw(channels)),
            strided=draw(st.booleans()),
            bias=draw(st.booleans()),
            norm=f"layer{at}.norm" if draw(st.booleans()) else "",
            dtype=dtype,
        )
        for at, size in enumerate(sizes)
    ]


@settings(max_examples=150, deadline=None)
@given(networks(), st.sampled_from(PAIRS), st.sampled_from(["", "module.", "a.b.model."]))
def test_there_and_back_is_the_same_to_the_bit(layers, pair, prefix):
    source, target = pair
    state = checkpoint(layers, source, prefix)
    new, report = convert_state_dict(state, source, target, said(layers))
    assert same(new, checkpoint(layers, target, prefix))
    back, _ = convert_state_dict(new, report.back.source, report.back.target, report.back.options)
    assert same(back, state)


@pytest.mark.parametrize(
    ("source", "target"), [p for p in permutations(FORMATS, 2) if "mmdet3d" not in p]
)
@pytest.mark.parametrize("size", [(3, 3), (2, 2), (3, 1), (3, 3, 3, 3), (2, 2, 2, 2)])
def test_kernels_of_other_dimensions(source, target, size):
    layers = [
        Layer("a", size, (20, 24), norm="b"),
        Layer("c", (1,) * len(size), (24, 13), bias=True),
    ]
    options = replace(said(layers), ndim=len(size))
    new, report = convert_state_dict(checkpoint(layers, source), source, target, options)
    assert same(new, checkpoint(layers, target))
    assert report.back.options.ndim == len(size)
    back, _ = convert_state_dict(new, target, source, report.back.options)
    assert same(back, checkpoint(layers, source))


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 3, 3), (1, 3, 3), (5, 5, 5), (3, 1, 1), (1, 1, 3)])
def test_bevfusions_permutation_of_27_taps_and_what_it_would_be_of_others(size):
    kx, ky, kz = size
    weight = torch.randn(*size, 13, 17)
    order = [x * ky * kz + y * kz + z for z in range(kz) for y in range(ky) for x in range(kx)]
    wanted = weight.reshape(-1, 13, 17)[order]
    state = {"encoder.conv.weight": weight, "encoder.norm.weight": torch.ones(17)}
    new, _ = convert_state_dict(state, "spconv1", "torchsparse")
    assert list(new) == ["encoder.conv.kernel", "encoder.norm.weight"]
    assert torch.equal(new["encoder.conv.kernel"], wanted[0] if prod(size) == 1 else wanted)


@pytest.mark.parametrize("target", FORMATS)
def test_weights_of_spconv_2_0_are_known_by_their_shape(target):
    layers = [layer for layer in NETWORK if layer.name != "deep.conv3"]
    options = replace(SAID, strided=())
    new, report = convert_state_dict(checkpoint(layers, "RSKC"), "spconv2", target, options)
    assert same(new, checkpoint(layers, target))
    assert any("spconv 2.0" in note for note in report.notes)


@pytest.mark.parametrize("library", FORMATS)
def test_into_the_same_format_nothing_changes(library):
    state = checkpoint(NETWORK, library)
    new, report = convert_state_dict(state, library, library, SAID)
    assert list(new) == list(state) and all(new[key] is state[key] for key in state)
    assert not report.changed and report.kept == len(state)


def test_what_is_tied_stays_tied():
    state = checkpoint([Layer("a", (3, 3, 3), (16, 16), norm="b")], "spconv2")
    state["twin.weight"] = state["a.weight"]
    state["other.weight"] = state["a.weight"].clone()
    new, _ = convert_state_dict(state, "spconv2", "native")
    assert new["a.weight"].data_ptr() == new["twin.weight"].data_ptr()
    assert new["a.weight"].data_ptr() != new["other.weight"].data_ptr()


def test_what_is_tied_between_different_kernels_is_turned_for_each():
    shared = torch.rand(9, 16, 16)
    said = Options(kernels=(("a", (1, 3, 3)), ("b", (9, 1, 1))))
    state = {"a.kernel": shared, "b.kernel": shared}
    new, _ = convert_state_dict(state, "torchsparse", "native", said)
    assert torch.equal(new["b.weight"], shared)
    assert torch.equal(new["a.weight"], shared.view(3, 3, 16, 16).transpose(0, 1).flatten(0, 1))


def with_mlp(norm: str) -> dict:
    """Of MinkowskiEngine, with a batch norm behind a linear layer, and one that is torch's."""
    state = checkpoint([Layer("a.0", (3, 3, 3), (16, 14), norm="a.1")], "minkowski")
    state["mlp.0.linear.weight"] = torch.rand(12, 14)
    state |= {f"{norm}.{name}": torch.rand(12) for name in ("weight", "bias", "running_mean")}
    state["plain.weight"] = torch.rand(12, 12)
    state["plain_norm.running_mean"] = torch.rand(12)
    return state


@pytest.mark.parametrize("target", FORMATS)
def test_norms_behind_linear_layers_are_wrapped_again_on_the_way_back(target):
    state, bare = with_mlp("mlp.1.bn"), with_mlp("mlp.1")
    new, report = convert_state_dict(state, "minkowski", target)
    if target == "minkowski":
        assert same(new, state)
        return
    assert [key for key in new if "mlp" in key] == [key for key in bare if "mlp" in key]
    assert report.back.options.norms == ("a.1", "mlp.1")
    back, _ = convert_state_dict(new, target, "minkowski", report.back.options)
    assert same(back, state)
    default, _ = convert_state_dict(new, target, "minkowski")
    assert list(default) == list(bare)


def test_a_module_that_looks_like_minkowskis_norm_and_is_none_is_left_alone_on_the_way_back():
    state = checkpoint([Layer("a.0", (3, 3, 3), (16, 14), norm="a.1")], "torchsparse")
    state["tail.bn.running_mean"] = torch.rand(12)
    new, report = convert_state_dict(state, "torchsparse", "minkowski")
    assert "tail.bn.running_mean" in new and "a.1.bn.running_mean" in new
    assert report.back.options.skip == ("tail.bn",)
    back, _ = convert_state_dict(new, "minkowski", "torchsparse", report.back.options)
    assert same(back, state)


def test_norms_are_found_by_name_where_the_order_of_entries_is_lost():
    layers = [layer for layer in NETWORK if layer.norm and layer.name != "out"]
    state = checkpoint(layers, "spconv2")
    scrambled = {key: state[key] for key in sorted(state)}
    new, _ = convert_state_dict(scrambled, "spconv2", "minkowski", Options(strided=("deep.conv3",)))
    wanted = checkpoint(layers, "minkowski")
    assert {key: new[key] for key in wanted}.keys() == new.keys()


def test_parameters_stay_parameters_and_the_source_is_untouched():
    state = checkpoint([Layer("a", (3, 3, 3), (16, 14))], "spconv2")
    state["a.weight"] = torch.nn.Parameter(state["a.weight"], requires_grad=False)
    before = {key: value.clone() for key, value in state.items()}
    new, _ = convert_state_dict(state, "spconv2", "minkowski")
    assert isinstance(new["a.kernel"], torch.nn.Parameter) and not new["a.kernel"].requires_grad
    assert same(state, before)
    assert new["a.kernel"].is_contiguous()


def test_entries_that_are_no_tensors_survive():
    state = {**checkpoint([Layer("a", (3, 3, 3), (16, 14))], "spconv2"), "_extra_state": {"n": 3}}
    new, _ = convert_state_dict(state, "spconv2", "native")
    assert new["_extra_state"] == {"n": 3}
