"""Which library wrote a state_dict, and what is said where that does not show."""

from collections import OrderedDict

import pytest
import torch

from gossamer.convert import convert_state_dict, detect
from tests.convert.libraries import Layer, checkpoint

NETWORK = [
    Layer("net.0", (3, 3, 3), (4, 16), norm="net.1"),
    Layer("deep.conv1", (2, 2, 2), (16, 24), strided=True, norm="deep.bn1"),
    Layer("deep.conv2", (1, 1, 1), (24, 12), norm="deep.bn2"),
]


@pytest.mark.parametrize(
    ("library", "certain"),
    [
        ("native", True),
        ("spconv1", True),
        ("spconv2", True),
        ("torchsparse", False),
        ("minkowski", True),
    ],
)
@pytest.mark.parametrize("scrambled", [False, True])
def test_a_library_is_known_by_what_it_writes(library, certain, scrambled):
    state = checkpoint(NETWORK, library, "module.")
    if scrambled:  # as .safetensors files have it
        state = {key: state[key] for key in sorted(state)}
    found = detect(state)
    assert (found.format, found.certain) == (library, certain)
    assert found.candidates[0] == library and found.why


def test_torchsparse_1_4_is_not_distinct_and_2_1_is_where_one_tap_has_a_stride():
    assert detect(checkpoint(NETWORK, "torchsparse14")).format == "torchsparse"
    strided = [*NETWORK, Layer("x", (1, 1, 1), (12, 12), strided=True, norm="y")]
    found = detect(checkpoint(strided, "torchsparse"))
    assert found.certain and found.candidates == ("torchsparse",)


@pytest.mark.parametrize("library", ["torchsparse", "minkowski"])
def test_kernels_alone_are_ambiguous_if_an_even_one_is_among_them(library):
    odd = [Layer("a", (3, 3, 3), (16, 24)), Layer("b", (5, 5, 5), (24, 8))]
    state = checkpoint(odd, library)
    assert detect(state).format == "torchsparse" and not detect(state).certain
    state = checkpoint([*odd, Layer("c", (2, 2, 2), (8, 8))], library)
    assert detect(state).format is None
    with pytest.raises(ValueError, match=r"torchsparse or torchsparse14 or minkowski.*--from"):
        convert_state_dict(state, None, "spconv2")


def test_a_module_called_bn_is_not_minkowskis_wrapper():
    state = checkpoint([Layer("block.conv", (3, 3, 3), (16, 24), norm="block.bn")], "torchsparse")
    assert detect(state).format == "torchsparse"
    state = checkpoint([Layer("block.conv", (3, 3, 3), (16, 24), norm="block.bn")], "minkowski")
    assert "block.bn.bn.running_mean" in state and detect(state).format == "minkowski"
    new, _ = convert_state_dict(state, None, "torchsparse")
    assert "block.bn.running_mean" in new


@pytest.mark.parametrize(("library", "format"), [("spconv1", "spconv1"), ("RSKC", "spconv2")])
def test_the_layouts_that_begin_with_the_kernel_are_told_by_norms_and_biases(library, format):
    for layer in (
        Layer("a.0", (3, 3, 3), (16, 24), norm="a.1"),
        Layer("a.conv", (3, 3, 3), (16, 24), bias=True),
        Layer("a", (3, 3, 3), (16, 24), norm="z"),
    ):
        assert detect(checkpoint([layer], library)).format == format
    alone = checkpoint([Layer("a", (3, 3, 3), (16, 24))], library)
    del alone["head.weight"], alone["head.bias"]
    found = detect(alone)
    assert found.format is None and found.candidates == ("spconv1", "spconv2")
    square = checkpoint([Layer("a.0", (3, 3, 3), (16, 16), norm="a.1")], library)
    assert detect(square).format is None


def test_a_source_that_the_norms_contradict_is_warned_about():
    state = checkpoint(NETWORK, "RSKC")
    _, report = convert_state_dict(state, "spconv1", "native")
    assert any("spconv 2.0 wrote" in note for note in report.notes)


def test_mmdetection3d_is_known_by_its_names():
    layers = [Layer("middle_encoder.conv_input.0", (3, 3, 3), (4, 16))]
    layers[0] = Layer("middle_encoder.a.0", (3, 3, 3), (4, 16), norm="middle_encoder.a.1")
    for library, layout in (("spconv1", "RSCK"), ("spconv2", "KRSC")):
        found = detect(checkpoint(layers, library))
        assert (found.format, found.layout) == ("mmdet3d", layout)


@pytest.mark.parametrize("library", ["torchsparse14", "minkowski", "spconv1", "spconv2"])
def test_mmdetection3d_writes_what_its_backend_writes(library):
    state = checkpoint(NETWORK, library)
    new, report = convert_state_dict(state, "mmdet3d", "native")
    expected, _ = convert_state_dict(state, library, "native")
    assert list(new) == list(expected)
    assert all(torch.equal(new[key], expected[key]) for key in new)
    assert report.source == "mmdet3d"
    back = report.back
    old, _ = convert_state_dict(new, back.source, back.target, back.options)
    assert list(old) == list(state) and all(torch.equal(old[key], state[key]) for key in state)


def test_a_layer_marked_as_version_2_is_one_of_spconv_2():
    state = OrderedDict(checkpoint([Layer("a", (3, 3, 3), (3, 3))], "spconv2"))
    state["c.weight"] = torch.rand(3, 3, 3, 3, 16)
    assert detect(state).format is None
    state._metadata = {"": {"version": 1}, "c": {"version": 2}}
    assert detect(state).format == "spconv2" and "marked as version 2" in detect(state).why


@pytest.mark.parametrize(
    "state", [{}, {"a": 3}, {"a.weight": torch.rand(3, 4)}, {"a.weight": torch.rand(8, 16, 3, 3)}]
)
def test_nothing_sparse_is_said(state):
    with pytest.raises(ValueError, match="no sparse convolution among"):
        detect(state)
    with pytest.raises(ValueError, match="no sparse convolution of spconv2 among"):
        convert_state_dict(state, "spconv2", "torchsparse")


@pytest.mark.parametrize(
    ("library", "claimed"), [("torchsparse", "spconv2"), ("spconv2", "minkowski")]
)
def test_a_wrong_source_is_told_what_it_looks_like(library, claimed):
    with pytest.raises(ValueError, match=f"no sparse convolution of {claimed}.*looks like"):
        convert_state_dict(checkpoint(NETWORK, library), claimed, "native")


def test_a_format_that_does_not_exist():
    with pytest.raises(ValueError, match="source is 'spconv3'; wanted one of native, spconv1"):
        convert_state_dict(checkpoint(NETWORK, "native"), "spconv3", "native")
    with pytest.raises(ValueError, match="target is 'spconv3'"):
        convert_state_dict(checkpoint(NETWORK, "native"), "native", "spconv3")
