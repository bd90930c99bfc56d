"""Parameters: their names, their first values, and the layouts in which checkpoints have them."""

import copy

import pytest
import torch
from torch import Tensor, nn

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.spconv import constants
from gossamer.compat.spconv.pytorch.conv import SparseConvolution
from tests.compat.rows import tensor

VOXELS = "max_num_voxels_during_training"

# What spconv 2.3.8 draws one after the other after torch.manual_seed(7), with one more of each.
DRAWN = [
    (
        ("SubMConv3d", 4, 6, 3),
        [0.006720846053212881, -0.05796535313129425, 0.03064030595123768, 0.030193546786904335],
        [-0.07347197085618973, 0.03660403564572334, -0.09303296357393265, -0.0899907648563385],
    ),
    (
        ("SparseConv2d", 3, 2, (1, 2), 2),
        [-0.18821510672569275, 0.2415856122970581, -0.07779642194509506, -0.2730570435523987],
        [-0.40554481744766235, 0.08802417665719986],
    ),
    (
        ("SparseInverseConv1d", 5, 3, 3, "k"),
        [-0.10278069972991943, -0.17250008881092072, 0.10201068967580795, 0.10197273641824722],
        [-0.10017593950033188, 0.1999627649784088, -0.21857139468193054],
    ),
    (
        ("SparseConvTranspose4d", 2, 3, 1),
        [0.4152597486972809, 0.02374359592795372, -0.33236566185951233, 0.6832112669944763],
        [0.5860706567764282, 0.24301029741764069, 0.46063125133514404],
    ),
    (
        ("SparseConv3d", 2, 3, 1),
        [0.17156995832920074, 0.5921244621276855, 0.15773002803325653, -0.7061684727668762],
        [0.4969940185546875, -0.20484304428100586, 0.2567006051540375],
    ),
]
MADE = [
    ("SubMConv1d", (3, 5, 3), {}),
    ("SubMConv3d", (16, 16, (1, 3, 5)), {"bias": False}),
    ("SparseConv2d", (4, 7, (2, 3)), {"stride": 2, "padding": (0, 1)}),
    ("SparseConv3d", (4, 6, 3, 2, 1), {"record_voxel_count": True}),
    ("SparseConv4d", (4, 6, 2), {"dilation": 2}),
    ("SparseConvTranspose3d", (4, 6, 3, 2), {"name": "up"}),
    ("SparseInverseConv2d", (4, 6, 3, "key"), {}),
    ("SparseMaxPool3d", (2,), {"record_voxel_count": True}),
    ("SparseMaxPool2d", (3, 2, 1), {}),
    ("SparseAvgPool2d", (3, 2, 1), {}),
    ("SparseGlobalAvgPool", (), {}),
    ("SparseBatchNorm", (4,), {}),
    ("SparseReLU", (), {"inplace": True}),
    ("SparseIdentity", (), {}),
]


def test_first_values_are_the_numbers_that_spconv_draws():
    torch.manual_seed(7)
    for (name, *args), weight, bias in DRAWN:
        layer = getattr(spconv, name)(*args)
        assert layer.weight.flatten()[:4].tolist() == weight
        assert layer.bias[:4].tolist() == bias


@pytest.mark.parametrize("made", MADE, ids=lambda made: made[0])
def test_a_layer_starts_and_is_shown_and_saved_as_spconvs_own(made):
    theirs = pytest.importorskip("spconv.pytorch")
    name, args, options = made
    torch.manual_seed(3)
    twin = getattr(theirs, name)(*args, **options)
    torch.manual_seed(3)
    layer = getattr(spconv, name)(*args, **options)
    assert list(layer.state_dict()) == list(twin.state_dict())
    for ours, wanted in zip(layer.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(ours, wanted) and ours.dtype == wanted.dtype
    # Its CPU build has but one algorithm.
    assert repr(layer).split("algo")[0] == repr(twin).split("algo")[0]
    shared = [key for key in vars(twin) if not key.startswith("_") and key != "algo"]
    for key in shared:
        ours, wanted = getattr(layer, key), getattr(twin, key)
        same = ours == wanted or getattr(ours, "value", ours) == getattr(wanted, "value", wanted)
        assert same, f"{key} is {ours}; spconv has {wanted}"
    layer.load_state_dict(twin.state_dict())
    twin.load_state_dict(layer.state_dict())


def test_layers_are_shown_with_all_that_they_were_given():
    shown = "kernel_size=[3, 3], stride=[1, 1], padding=[0, 0], dilation=[1, 1], output_padding="
    layer = SparseConvolution(
        2, 3, 4, 3, transposed=True, output_padding=1, act_type=tv.gemm.Activation.ReLU
    )
    end = "[1, 1], algo=ConvAlgo.MaskImplicitGemm, act=Activation.ReLU)"
    assert repr(layer) == f"SparseConvolution(3, 4, {shown}{end}"
    end = "[0, 0], groups=2, bias=False, algo=ConvAlgo.MaskImplicitGemm)"
    assert (
        repr(spconv.SubMConv2d(4, 4, 3, groups=2, bias=False)) == f"SubMConv2d(4, 4, {shown}{end}"
    )


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["SubMConv", "SparseConv", "SparseConvTranspose"])
def test_weights_are_in_krsc_for_every_kind(kind, ndim):
    layer = getattr(spconv, f"{kind}{ndim}d")(4, 6, 3)
    assert layer.weight.shape == (6, *[3] * ndim, 4)
    assert list(layer.state_dict()) == ["weight", "bias"]
    grouped = getattr(spconv, f"{kind}{ndim}d")(4, 6, 3, groups=2, bias=False)
    assert grouped.weight.shape == (6, *[3] * ndim, 2)
    assert list(grouped.state_dict()) == ["weight"]


def stored(weight: Tensor, layout: str, raw: bool) -> Tensor:
    """A weight in KRSC, as checkpoints of that layout have it."""
    if layout == "KRSC":
        return weight.clone()
    out_channels, *size, in_channels = weight.shape
    ends = (out_channels, in_channels) if layout == "RSKC" else (in_channels, out_channels)
    if raw:  # in every version a product with weight.view(C_in, C_out)
        return weight.reshape(*size, *ends).clone()
    axes = range(1, weight.ndim - 1)
    last = (0, weight.ndim - 1) if layout == "RSKC" else (weight.ndim - 1, 0)
    return weight.permute(*axes, *last).clone()


class Net(nn.Module):
    """Layers of which the shape of a stored weight tells its layout, and one with other buffers."""

    def __init__(self, sizes=((4, 6, 3), (6, 8, 1), (8, 5, (1, 3, 1)))):
        super().__init__()
        self.stem = spconv.SubMConv3d(*sizes[0])
        self.body = spconv.SparseSequential(
            nn.BatchNorm1d(sizes[0][1]),
            spconv.SubMConv3d(*sizes[1], bias=False),
            spconv.SparseSequential(spconv.SparseConv3d(*sizes[2], stride=2, indice_key="down")),
            spconv.SparseMaxPool3d(2, record_voxel_count=True),
        )

    def forward(self, x):
        return self.body(self.stem(x))


def checkpoint(net: nn.Module, layout: str) -> dict[str, Tensor]:
    """What `net` would have been saved as in that layout; without metadata."""
    convs = {n: m for n, m in net.named_modules() if isinstance(m, SparseConvolution)}
    return {
        key: stored(value, layout, convs[key[:-7]].conv1x1) if key[:-7] in convs else value
        for key, value in net.state_dict().items()
    }


@pytest.mark.parametrize("version", [None, 1, 2])
@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
def test_a_checkpoint_is_taken_in_whatever_layout_it_has(layout, version):
    torch.manual_seed(0)
    net, other, x = Net(), Net(), tensor(3, 40, 4)
    saved = checkpoint(net, layout)
    if version is not None:
        saved = copy.copy(net.state_dict())  # keeps its metadata
        saved.update(checkpoint(net, layout))
        for about in saved._metadata.values():
            about["version"] = version
    assert not torch.equal(other(x).features, net(x).features)
    other.load_state_dict(saved)
    for ours, wanted in zip(other.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, wanted)
    assert torch.equal(other(x).features, net(x).features)
    assert saved["stem.weight"].shape == stored(net.stem.weight, layout, False).shape


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
def test_a_square_weight_is_taken_in_the_layout_that_the_environment_names(
    layout, kernel_size, monkeypatch
):
    layer = spconv.SubMConv3d(3, 3, kernel_size)  # of size 3 every layout has one shape
    saved = {
        **layer.state_dict(),
        "weight": stored(layer.weight.detach(), layout, kernel_size == 1),
    }
    monkeypatch.setattr(constants, "SAVED_WEIGHT_LAYOUT", layout)
    other = spconv.SubMConv3d(3, 3, kernel_size)
    other.load_state_dict(saved)
    assert torch.equal(other.weight, layer.weight)


def test_a_square_weight_of_which_nothing_is_said_is_in_the_likelier_layout():
    layer = spconv.SubMConv3d(3, 3, 3)
    other = spconv.SubMConv3d(3, 3, 3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)  # KRSC
    layer, other = spconv.SubMConv3d(8, 8, 3), spconv.SubMConv3d(8, 8, 3)
    weight = layer.weight.detach()
    other.load_state_dict({**layer.state_dict(), "weight": stored(weight, "RSCK", False)})
    assert torch.equal(other.weight, layer.weight)


@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
def test_a_square_weight_has_the_layout_of_the_weights_before_it(layout):
    sizes = ((4, 8, 3), (8, 8, 1), (8, 8, 3))
    net, other = Net(sizes), Net(sizes)
    other.load_state_dict(checkpoint(net, layout))
    assert all(map(torch.equal, other.parameters(), net.parameters()))
    # What one checkpoint showed says nothing about the next one.
    alone, twin = spconv.SubMConv3d(8, 8, 3), spconv.SubMConv3d(8, 8, 3)
    weight = stored(alone.weight.detach(), "RSCK", False)
    twin.load_state_dict({**alone.state_dict(), "weight": weight})
    assert torch.equal(twin.weight, alone.weight)


def test_what_a_layer_saves_it_takes_again_whatever_the_environment_names(monkeypatch):
    monkeypatch.setattr(constants, "SAVED_WEIGHT_LAYOUT", "RSCK")
    net, other = Net(), Net()
    other.load_state_dict(net.state_dict())
    assert all(map(torch.equal, other.parameters(), net.parameters()))


def test_a_layer_of_one_tap_with_a_stride_has_its_axes_moved_like_the_others():
    layer, other = spconv.SparseConv3d(4, 6, 1, 2), spconv.SparseConv3d(4, 6, 1, 2)
    weight = layer.weight.detach()
    other.load_state_dict({**layer.state_dict(), "weight": stored(weight, "RSCK", False)})
    assert torch.equal(other.weight, layer.weight)


def test_a_weight_of_no_layout_is_refused_with_both_shapes():
    layer = spconv.SubMConv3d(4, 6, 3)
    with pytest.raises(RuntimeError, match=r"size mismatch for weight.*\[6, 3, 3, 5\]"):
        layer.load_state_dict({**layer.state_dict(), "weight": torch.zeros(6, 3, 3, 5)})
    with pytest.raises(RuntimeError, match=r"Missing key.*weight"):
        layer.load_state_dict({"bias": layer.bias})
    layer.load_state_dict({"bias": torch.zeros(6)}, strict=False)
    assert not layer.bias.any()


def turning_loader(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
    """What a framework puts into SparseModule: the last axis of old weights goes first."""
    for hook in self._load_state_dict_pre_hooks.values():
        hook(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
    own = dict(self.named_parameters(recurse=False)) | dict(self.named_buffers(recurse=False))
    for name, value in own.items():
        if (came := state_dict.get(prefix + name)) is None:
            missing.append(prefix + name)
            continue
        if came.ndim == 5 and local_metadata.get("version") != 2:
            came = came.permute(4, 0, 1, 2, 3)
        if came.shape != value.shape:
            errors.append(f"size mismatch for {prefix + name}")
            continue
        with torch.no_grad():
            value.copy_(came)


@pytest.mark.parametrize("version", [None, 2])
@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
def test_layouts_survive_a_framework_that_turns_weights_itself(layout, version, monkeypatch):
    module = spconv.SparseModule
    monkeypatch.setattr(module, "_version", 2)
    monkeypatch.setattr(module, "_load_from_state_dict", turning_loader)
    test_a_checkpoint_is_taken_in_whatever_layout_it_has(layout, version)
    net, other = Net(), Net()
    assert net.state_dict()._metadata["body.1"]["version"] == 2
    other.load_state_dict(net.state_dict())
    assert all(map(torch.equal, other.parameters(), net.parameters()))


@pytest.mark.parametrize("make", ["SparseConv3d", "SparseConvTranspose3d", "SparseMaxPool3d"])
def test_the_most_rows_are_kept_and_saved(make):
    channels = () if make == "SparseMaxPool3d" else (4, 4)
    layer = getattr(spconv, make)(*channels, 3, 2, 1, record_voxel_count=True)
    assert VOXELS in layer.state_dict() and layer.get_max_num_voxels() is getattr(layer, VOXELS)
    assert getattr(layer, VOXELS).tolist() == [0] and getattr(layer, VOXELS).dtype == torch.int32
    sizes = [len(layer(tensor(3, sites, 4)).indices) for sites in (1, 60, 5)]
    assert getattr(layer, VOXELS).tolist() == [max(sizes)]
    again = getattr(spconv, make)(*channels, 3, 2, 1, record_voxel_count=True)
    again.load_state_dict(layer.state_dict())
    assert getattr(again, VOXELS).tolist() == [max(sizes)]
    older = {key: value for key, value in layer.state_dict().items() if key != VOXELS}
    again.load_state_dict(older)  # of a layer that did not record
    assert getattr(again, VOXELS).tolist() == [0]


def test_only_layers_that_make_sites_record_how_many():
    for layer in (spconv.SubMConv3d(4, 4, 3), spconv.SparseInverseConv3d(4, 4, 3, "key")):
        assert layer.get_max_num_voxels() is None
    with pytest.raises(TypeError, match="record_voxel_count"):
        spconv.SubMConv3d(4, 4, 3, record_voxel_count=True)


def test_a_layer_can_be_undone_when_it_keeps_the_rulebook_of_new_sites():
    assert spconv.SparseConv3d(4, 4, 3, indice_key="key").is_inverseable()
    assert not spconv.SparseConv3d(4, 4, 3).is_inverseable()
    assert not spconv.SubMConv3d(4, 4, 3, indice_key="key").is_inverseable()


@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
def test_a_square_weight_has_the_layout_of_the_weights_after_it(layout):
    net = spconv.SparseSequential(
        spconv.SubMConv3d(8, 8, 3, bias=False), spconv.SubMConv3d(8, 6, 3, bias=False)
    )
    wanted = [torch.randn_like(layer.weight) for layer in net]
    net.load_state_dict({f"{i}.weight": stored(w, layout, False) for i, w in enumerate(wanted)})
    for layer, weight in zip(net, wanted, strict=True):
        assert torch.equal(layer.weight, weight)
