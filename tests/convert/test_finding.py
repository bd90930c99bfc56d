"""Which weights are taken for those of sparse convolutions, and which are let alone."""

import pytest
import torch
from torch import nn

from gossamer.convert import Options, convert_state_dict
from tests.convert.libraries import FORMATS, Layer, checkpoint

SPARSE = [Layer("sparse.0", (3, 3, 3), (16, 32), norm="sparse.1")]
FLAT = [Layer("sparse.0", (3, 3), (16, 32), norm="sparse.1")]
DENSE = {
    "linear": nn.Linear(8, 8),
    "conv1": nn.Conv1d(16, 48, 3),
    "conv1x1": nn.Conv1d(16, 200, 1),
    "conv2": nn.Conv2d(32, 64, 3),
    "first": nn.Conv2d(3, 64, 7),
    "point2": nn.Conv2d(64, 24, 1),
    "depthwise": nn.Conv2d(64, 64, 3, groups=64),
    "up2": nn.ConvTranspose2d(64, 32, 2),
    "conv3": nn.Conv3d(16, 32, 3),
    "tall": nn.Conv3d(64, 32, (3, 1, 1)),
    "point3": nn.Conv3d(64, 24, 1),
    "embedding": nn.Embedding(27, 16),
    "norm": nn.LayerNorm([4, 6]),
}


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("name", DENSE)
def test_dense_layers_are_left_alone_and_named(source, target, name):
    dense = {f"neck.{name}.{key}": value for key, value in DENSE[name].state_dict().items()}
    state = {**checkpoint(SPARSE, source), **dense}
    new, report = convert_state_dict(state, source, target)
    assert all(new[key] is value for key, value in dense.items())
    assert f"neck.{name}.weight" in dict(report.left)
    assert all(change.key.startswith("sparse.") for change in report.changed)


@pytest.mark.parametrize("layers", [SPARSE, FLAT], ids=["3d", "2d"])
@pytest.mark.parametrize("source", ["spconv1", "spconv2"])
def test_a_dense_twin_of_a_sparse_layer_is_told_apart(source, layers):
    dense = nn.Conv3d if layers is SPARSE else nn.Conv2d
    state = {**checkpoint(layers, source), "twin.weight": dense(16, 32, 3).weight.detach()}
    new, _ = convert_state_dict(state, source, "native")
    assert new["sparse.0.weight"].shape[1:] == (16, 32)
    assert new["twin.weight"] is state["twin.weight"]


@pytest.mark.parametrize(("ndim", "taps", "size"), [(2, 9, (3, 3)), (4, 16, (2, 2, 2, 2))])
def test_cubes_have_as_many_axes_as_said(ndim, taps, size):
    state = {"a.kernel": torch.rand(taps, 16, 24)}
    new, report = convert_state_dict(state, "minkowski", "spconv2", Options(ndim=ndim))
    assert new["a.weight"].shape == (24, *size, 16) and report.back.options.ndim == ndim


def ambiguous(**more):
    """A layer of 3 channels, read one way as dense as the other, among others."""
    return {"a.weight": torch.rand(16, 3, 3, 3, 3), **more}


def test_a_weight_that_can_be_both_is_asked_about():
    dense, sparse = torch.rand(32, 16, 3, 3, 3), torch.rand(32, 3, 3, 3, 16)
    state = ambiguous(**{"b.weight": dense, "c.weight": sparse})
    with pytest.raises(ValueError, match=r"a\.weight \(16, 3, 3, 3, 3\).*--skip KEY.*--only"):
        convert_state_dict(state, "spconv2", "native")
    new, _ = convert_state_dict(state, "spconv2", "native", Options(skip=("a",)))
    assert new["a.weight"] is state["a.weight"] and new["c.weight"].shape == (27, 16, 32)
    only = Options(only=("a.weight", "c.*"))
    new, report = convert_state_dict(state, "spconv2", "native", only)
    assert new["a.weight"].shape == (27, 3, 16) and new["c.weight"].shape == (27, 16, 32)
    assert dict(report.left) == {"b.weight": "not among those named"}


def test_a_weight_that_can_be_both_is_what_all_others_are():
    sparse = ambiguous(**{"c.weight": torch.rand(32, 3, 3, 3, 16)})
    new, _ = convert_state_dict(sparse, "spconv2", "native")
    assert new["a.weight"].shape == (27, 3, 16)
    dense = {
        "a.weight": torch.rand(64, 3, 3, 3),
        "b.weight": torch.rand(32, 64, 3, 3),
        "c.weight": torch.rand(32, 3, 3, 3, 16),
    }
    new, report = convert_state_dict(dense, "spconv2", "native")
    assert new["a.weight"] is dense["a.weight"] and "a.weight" in dict(report.left)


def test_a_bias_tells_a_native_weight_from_one_of_conv1d():
    state = checkpoint(SPARSE, "native")
    state |= {"a.weight": torch.rand(64, 8, 3), "a.bias": torch.rand(64)}
    state |= {"b.weight": torch.rand(64, 8, 5), "b.bias": torch.rand(5)}
    new, _ = convert_state_dict(state, "native", "torchsparse")
    assert new["a.weight"] is state["a.weight"] and new["b.kernel"].shape == (64, 8, 5)
    del state["a.bias"]
    with pytest.raises(ValueError, match=r"a\.weight \(64, 8, 3\)"):
        convert_state_dict(state, "native", "torchsparse")


@pytest.mark.parametrize(
    ("taps", "listed"),
    [(9, "1x3x3, 3x1x3, 3x3x1, 1x1x9, 1x9x1, 9x1x1"), (3, "1x1x3, 1x3x1, 3x1x1")],
)
@pytest.mark.parametrize(
    ("source", "target"),
    [("torchsparse", "spconv2"), ("native", "minkowski"), ("minkowski", "spconv1")],
)
def test_a_kernel_whose_shape_is_unknown_is_asked_about(source, target, taps, listed):
    name = "weight" if source == "native" else "kernel"
    state = checkpoint(SPARSE, source) | {f"odd.{name}": torch.rand(taps, 16, 16)}
    with pytest.raises(ValueError) as told:
        convert_state_dict(state, source, target)
    assert f"odd.{name} with {taps}" in str(told.value) and listed in str(told.value)
    assert f"--kernel 'odd.{name}=1x" in str(told.value)
    said = Options(kernels=(("odd", (1, 1, taps)),))
    assert convert_state_dict(state, source, target, said)


def test_a_kernel_whose_shape_does_not_matter_is_not_asked_about():
    state = {"odd.kernel": torch.rand(9, 16, 16), "even.kernel": torch.rand(6, 16, 16)}
    new, _ = convert_state_dict(state, "torchsparse", "torchsparse14")
    assert torch.equal(new["odd.kernel"], state["odd.kernel"])
    new, _ = convert_state_dict({"odd.kernel": state["odd.kernel"]}, "torchsparse", "minkowski")
    assert torch.equal(new["odd.kernel"], state["odd.kernel"])
    new, _ = convert_state_dict({"e.kernel": state["even.kernel"]}, "torchsparse", "native")
    assert torch.equal(new["e.weight"], state["even.kernel"])


def test_one_pattern_says_different_kernels_by_their_taps():
    state = {"a.kernel": torch.rand(9, 16, 16), "b.kernel": torch.rand(3, 16, 16)}
    said = Options(kernels=(("*", (1, 3, 3)), ("*", (3, 1, 1))))
    new, _ = convert_state_dict(state, "torchsparse", "spconv2", said)
    assert [tuple(w.shape) for w in new.values()] == [(16, 1, 3, 3, 16), (16, 3, 1, 1, 16)]


@pytest.mark.parametrize("option", ["only", "skip", "strided", "drop", "norms"])
def test_a_pattern_that_fits_nothing_is_a_mistake(option):
    with pytest.raises(ValueError, match=f"{option}: no key of the checkpoint fits 'nowhere'"):
        convert_state_dict(
            checkpoint(SPARSE, "native"), "native", "spconv2", Options(**{option: ("nowhere",)})
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(ndim=5), "ndim is 5; wanted 1 to 4"),
        (dict(kernels=(("*", (0, 3)),)), "wanted 1 to 4 ints above 0"),
        (dict(kernels=(("*", ()),)), "wanted 1 to 4 ints above 0"),
    ],
)
def test_options_that_mean_nothing(options, said):
    with pytest.raises(ValueError, match=said):
        Options(**options)


def test_a_key_named_that_can_be_no_convolution():
    state = checkpoint(SPARSE, "spconv2")
    with pytest.raises(ValueError, match=r"only names head\.weight, which is \(5, 12\)"):
        convert_state_dict(state, "spconv2", "native", Options(only=("head.weight",)))


def test_two_entries_of_one_name_are_refused():
    state = checkpoint(SPARSE, "torchsparse") | {"sparse.0.weight": torch.rand(2)}
    with pytest.raises(ValueError, match=r"would both be called sparse\.0\.weight"):
        convert_state_dict(state, "torchsparse", "native")


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_what_a_state_dict_does_not_show_leads_back_all_the_same(source, target):
    layers = [Layer("a", (3, 3, 3), (3, 5)), Layer("b", (3, 3, 3), (3, 3), norm="far")]
    layers += [Layer("c", (5, 5, 5), (4, 4)), Layer("d", (1, 1, 1), (3, 1), strided=True)]
    state = checkpoint(layers, source)
    state |= {"neck.weight": torch.rand(7, 3, 3, 3, 3), "neck.running_mean": torch.rand(7)}
    sparse = tuple(key for key in state if key[0] in "abcd" and state[key].ndim > 2)
    sparse += tuple(key for key in state if key.endswith(".kernel") and key not in sparse)
    options = Options(only=sparse, strided=("d",))
    new, report = convert_state_dict(state, source, target, options)
    back = report.back
    old, _ = convert_state_dict(new, back.source, back.target, back.options)
    assert list(old) == list(state)
    assert all(torch.equal(old[key], state[key]) for key in state)
