"""Networks that are written for spconv do on gossamer what they do on spconv, and train besides."""

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.libraries import LIBRARY
from tests.conformance.networks import CYLINDER3D, ON_SPCONV, Network, voxelized
from tests.conformance.scenes import dice

on_gossamer = pytest.mark.skipif(LIBRARY != "gossamer", reason="spconv has no backward on a CPU")
ALL = {**ON_SPCONV, "mmdet3d Cylinder3D": CYLINDER3D}


def made(network: Network) -> nn.Module:
    torch.manual_seed(0)
    return network.build()


def mixed(outputs: dict[str, Tensor]) -> Tensor:
    """One number that every element of the outputs has a share in."""
    shares = (torch.randn(y.shape, generator=dice(3), dtype=y.dtype) for y in outputs.values())
    return sum(
        ((y * s).sum() for y, s in zip(outputs.values(), shares, strict=True)), torch.zeros(())
    )


@pytest.mark.parametrize("name", ON_SPCONV)
def test_a_seed_gives_the_weights_it_gives_on_spconv(name, theirs):
    ours = made(ON_SPCONV[name]).state_dict()
    assert list(ours) == list(theirs[name]["weights"])
    for key, weight in theirs[name]["weights"].items():
        assert torch.equal(ours[key], weight), key


@pytest.mark.parametrize("name", ON_SPCONV)
def test_the_outputs_are_those_on_spconv_with_its_weights(name, theirs):
    net = ON_SPCONV[name].build()
    net.load_state_dict(theirs[name]["weights"])
    with torch.no_grad():
        ours = ON_SPCONV[name].run(net)
    for key, wanted in theirs[name]["outputs"].items():
        # Rounding of float32, stretched by one batch norm after another: 1e-5 was seen.
        torch.testing.assert_close(ours[key], wanted, rtol=0, atol=3e-5 * wanted.abs().max())


def test_voxels_are_those_of_spconv(theirs):
    for ours, wanted in zip(voxelized(), theirs["voxelized"], strict=True):
        assert ours.equal(wanted)


def in_layout(name: str, weight: Tensor) -> Tensor:
    """A weight of spconv 2.2 and later as others have stored it."""
    if weight.ndim < 4 or name == "KRSC":
        return weight
    if weight[0, ..., 0].numel() == 1:  # multiplied as it lies in memory, by all of them
        *taps, channels = weight.shape[1:]
        last = (channels, len(weight)) if name == "RSCK" else (len(weight), channels)
        return weight.reshape(*taps, *last)
    return weight.movedim(0, -2 if name == "RSKC" else -1)


@on_gossamer
@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
@pytest.mark.parametrize("name", ["mmdet3d SECOND", "mmdet3d MinkUNet", "torch-pointcloud SpUNet"])
def test_a_checkpoint_loads_whatever_layout_it_has_and_whether_it_says_so_or_not(name, layout):
    net = made(ON_SPCONV[name])
    stored = {key: in_layout(layout, weight) for key, weight in net.state_dict().items()}
    other = ON_SPCONV[name].build()
    other.load_state_dict(stored)
    with torch.no_grad():
        ours, wanted = ON_SPCONV[name].run(other), ON_SPCONV[name].run(net)
    assert all(ours[key].equal(wanted[key]) for key in wanted)


@on_gossamer
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_every_parameter_learns(name, half):
    net = made(ALL[name])
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        outputs = ALL[name].run(net)
    assert all(y.isfinite().all() for y in outputs.values())
    mixed({key: y.float() for key, y in outputs.items()}).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        # A bias before a batch norm is taken out again.
        assert parameter.ndim == 1 or parameter.grad.any(), key


@on_gossamer
@pytest.mark.parametrize("name", ALL)
def test_evaluation_has_gradients_and_gives_what_it_gives_without(name):
    net = made(ALL[name])
    ALL[name].run(net)
    net.eval()
    outputs = ALL[name].run(net)
    with torch.no_grad():
        alone = ALL[name].run(net)
    for key, y in outputs.items():
        torch.testing.assert_close(alone[key], y, rtol=0, atol=1e-5 * y.abs().max().item())
    mixed(outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@on_gossamer
@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_the_slope(name, double):
    net = made(ALL[name])
    weights = list(net.parameters())
    mixed(ALL[name].run(net)).backward()
    ways = [away(w.detach(), seed) for seed, w in enumerate(weights)]
    slope = sum((w.grad * way).sum().item() for w, way in zip(weights, ways, strict=True))
    # Short enough to meet no kink of a ReLU, and long enough for what float64 resolves.
    step, values = 1e-7, []
    for steps in (1, -2):
        with torch.no_grad():
            for w, way in zip(weights, ways, strict=True):
                w += steps * step * way
            values.append(mixed(ALL[name].run(net)).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


def away(weight: Tensor, seed: int) -> Tensor:
    """A direction, as long as the weight itself."""
    size = weight.square().mean().sqrt().clamp(min=0.01)
    return torch.randn(weight.shape, generator=dice(seed)) * size
