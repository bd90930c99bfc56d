"""One MinkUNet under the names of several code bases."""

from itertools import permutations

import pytest
import torch

from gossamer.convert import Options, convert_state_dict
from gossamer.convert.names import SCHEMES
from gossamer.models import MinkUNet
from tests.convert.libraries import same

# The library that each code base is written with.
LIBRARIES = {
    "native": "native",
    "spvnas": "torchsparse",
    "mmdet3d-spconv": "mmdet3d",
    "mmdet3d-torchsparse": "torchsparse14",
    "mmdet3d-minkowski": "minkowski",
}
SAMPLES = {
    "stem.3.weight": (
        "stem.3.kernel",
        "backbone.conv_input.1.0.weight",
        "backbone.conv_input.1.net.0.kernel",
        "backbone.conv_input.1.net.0.kernel",
    ),
    "down.2.coarsen.1.running_var": (
        "stage3.0.net.1.running_var",
        "backbone.encoder.2.0.1.running_var",
        "backbone.encoder.2.0.net.1.running_var",
        "backbone.encoder.2.0.net.1.bn.running_var",
    ),
    "down.1.blocks.0.body.3.weight": (
        "stage2.1.net.3.kernel",
        "backbone.encoder.1.1.conv2.weight",
        "backbone.encoder.1.1.net.3.kernel",
        "backbone.encoder.1.1.conv2.kernel",
    ),
    "down.3.blocks.1.body.4.bias": (
        "stage4.2.net.4.bias",
        "backbone.encoder.3.2.bn2.bias",
        "backbone.encoder.3.2.net.4.bias",
        "backbone.encoder.3.2.norm2.bn.bias",
    ),
    "down.1.blocks.0.around.0.weight": (
        "stage2.1.downsample.0.kernel",
        "backbone.encoder.1.1.downsample.0.weight",
        "backbone.encoder.1.1.downsample.0.kernel",
        "backbone.encoder.1.1.downsample.net.0.kernel",
    ),
    "up.0.refine.0.weight": (
        "up1.0.net.0.kernel",
        "backbone.decoder.0.0.0.weight",
        "backbone.decoder.0.0.net.0.kernel",
        "backbone.decoder.0.0.net.0.kernel",
    ),
    "up.3.blocks.0.around.1.weight": (
        "up4.1.0.downsample.1.weight",
        "backbone.decoder.3.1.0.downsample.1.weight",
        "backbone.decoder.3.1.0.downsample.1.weight",
        "backbone.decoder.3.1.0.downsample.net.1.bn.weight",
    ),
    "head.bias": (
        "classifier.0.bias",
        "decode_head.conv_seg.bias",
        "decode_head.conv_seg.bias",
        "decode_head.conv_seg.bias",
    ),
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    state = dict(MinkUNet(5, 7, 0.25).state_dict())
    return {
        key: torch.rand_like(value) if value.is_floating_point() else value
        for key, value in state.items()
    }


def under(scheme: str, network: dict) -> dict:
    return convert_state_dict(network, "native", LIBRARIES[scheme], Options(names=scheme))[0]


@pytest.mark.parametrize("at", range(4))
def test_modules_have_the_names_of_each_code_base(at, network):
    theirs = under(list(LIBRARIES)[at + 1], network)
    places = dict(zip(network, theirs, strict=True))
    assert {key: places[key] for key in SAMPLES} == {key: SAMPLES[key][at] for key in SAMPLES}


@pytest.mark.parametrize(("one", "other"), list(permutations(LIBRARIES, 2)))
def test_from_every_code_base_to_every_other_and_back(one, other, network):
    state = {f"module.{key}": value for key, value in under(one, network).items()}
    new, report = convert_state_dict(state, None, LIBRARIES[other], Options(names=other))
    assert same(new, {f"module.{k}": v for k, v in under(other, network).items()})
    back, _ = convert_state_dict(new, report.back.source, report.back.target, report.back.options)
    assert same(back, state)
    assert not report.back.options.norms and not report.back.options.only


@pytest.mark.parametrize("scheme", [name for name in LIBRARIES if name != "native"])
def test_a_native_end_renames_without_being_asked(scheme, network):
    theirs = under(scheme, network)
    ours, _ = convert_state_dict(theirs, None, "native")
    assert same(ours, network)
    MinkUNet(5, 7, 0.25).load_state_dict(ours)
    if scheme in ("spvnas", "mmdet3d-spconv"):
        assert same(convert_state_dict(network, None, LIBRARIES[scheme])[0], theirs)


@pytest.mark.parametrize("scheme", ["spvnas", "mmdet3d-torchsparse"])
def test_a_shortcut_is_a_linear_layer_here_and_a_convolution_there(scheme, network):
    theirs = under(scheme, network)
    linear = network["down.1.blocks.0.around.0.weight"]
    shortcut = next(value for key, value in theirs.items() if key.endswith("downsample.0.kernel"))
    assert torch.equal(shortcut, linear.T)
    spconv = under("mmdet3d-spconv", network)["backbone.encoder.1.1.downsample.0.weight"]
    # spconv multiplies by the numbers as they lie.
    assert torch.equal(spconv.view(linear.T.shape), linear.T)


def test_names_are_kept_on_demand_and_between_foreign_libraries(network):
    theirs = under("spvnas", network)
    new, report = convert_state_dict(theirs, "torchsparse", "native", Options(names="keep"))
    assert "stage1.0.net.0.weight" in new and report.back.options.names == "keep"
    new, report = convert_state_dict(theirs, "torchsparse", "minkowski")
    assert "stage1.0.net.0.kernel" in new
    assert any("--names gives those of" in note for note in report.notes)


def test_a_network_with_more_modules_keeps_its_names_and_says_why(network):
    theirs = {**under("spvnas", network), "point_transforms.0.0.weight": torch.rand(4, 4)}
    new, report = convert_state_dict(theirs, "torchsparse", "native")
    assert "stage1.0.net.0.weight" in new
    (note,) = report.notes
    assert "point_transforms.0.0" in note and "--drop '*point_transforms*'" in note
    with pytest.raises(ValueError, match="names is 'native': MinkUNet as spvnas"):
        convert_state_dict(theirs, "torchsparse", "native", Options(names="native"))
    dropped = Options(drop=("*point_transforms*",))
    new, report = convert_state_dict(theirs, "torchsparse", "native", dropped)
    assert same(new, network)
    assert [change.what for change in report.changed if change.to is None] == ["left out"]


def test_another_network_has_no_names(network):
    state = {"a.weight": torch.rand(27, 16, 16)}
    with pytest.raises(ValueError, match="names is 'spvnas': the modules are those of no MinkUNet"):
        convert_state_dict(state, "native", "torchsparse", Options(names="spvnas"))
    with pytest.raises(ValueError, match="names is 'spv'; wanted one of auto, keep, native"):
        convert_state_dict(state, "native", "torchsparse", Options(names="spv"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_two_modules_have_one_name(scheme):
    paths = SCHEMES[scheme]
    assert len(set(paths.values())) == len(paths)


def test_every_module_of_the_network_is_in_every_table():
    modules = {key.rpartition(".")[0] for key in MinkUNet(5, 7, 0.5).state_dict()}
    for paths in SCHEMES.values():
        assert modules <= set(paths)
