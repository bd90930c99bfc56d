"""The same network in five libraries' words, with converted weights: where they agree, and not."""

import pytest
import torch
from torch.testing import assert_close

from gossamer.convert import convert_state_dict
from tests.compat import dialects
from tests.compat.dialects import Net, shape_of
from tests.scenes import scene

HALVING = {
    "spconv": (dialects.in_spconv, "spconv2"),
    "torchsparse": (dialects.in_torchsparse, "torchsparse"),
    "torchsparse hashmap": (lambda: dialects.in_torchsparse("hashmap"), "torchsparse"),
    "torchsparse14": (dialects.in_torchsparse14, "torchsparse14"),
    "minkowski": (dialects.in_minkowski, "minkowski"),
}
SEEN = {name: way for name, way in HALVING.items() if name != "minkowski"}
FLOORED = {
    "torchsparse hashmap": (
        lambda: dialects.in_torchsparse("hashmap", "minkowski"),
        "torchsparse",
    ),
    "minkowski": HALVING["minkowski"],
}


def cloud(side: int, dtype: torch.dtype, shuffled: bool = False):
    """Sites with the first and last cells among them, so that all libraries see one extent."""
    coords = scene(3, 150, 1, side=side, batch=2).coords.int()
    corners = [[b, v, v, v] for b in range(2) for v in (0, side - 1)]
    corners = torch.tensor(corners, dtype=torch.int32)
    coords = torch.unique(torch.cat([coords, corners]), dim=0)
    rng = torch.Generator().manual_seed(1)
    if shuffled:
        coords = coords[torch.randperm(len(coords), generator=rng)]
    return torch.randn(len(coords), 3, generator=rng, dtype=torch.float64).to(dtype), coords


def ordered(coords, features):
    """Rows by their coordinates, since libraries differ in the order of what they make."""
    order = sorted(range(len(coords)), key=coords.tolist().__getitem__)
    return coords[order].long(), features[order]


def both(name, way, downsample, size, padding, dtype):
    """A native network, and the same one in another library's words with its weights."""
    torch.manual_seed(0)
    ours = Net(dialects.native(downsample), size, padding).to(dtype)
    make, format = way[name]
    theirs = Net(make(), size, padding).to(dtype)
    state, _ = convert_state_dict(ours.state_dict(), "native", format)
    theirs.load_state_dict(state)
    return ours, theirs


def check(ours, theirs, features, coords):
    """The same features on the same sites, and the same gradients of the input."""
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    mine, its = (net(x, coords) for net, x in zip((ours, theirs), inputs, strict=True))
    assert ordered(*mine[2:], mine[2])[0].tolist() == ordered(*its[2:], its[2])[0].tolist()
    (wanted, value), (came, result) = ordered(*mine[:2]), ordered(*its[:2])
    assert wanted.tolist() == came.tolist()
    tolerance = 1e-5 if features.dtype == torch.float32 else 1e-11
    assert_close(result, value, rtol=tolerance, atol=tolerance)
    for y in (value, result):
        (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).sin()).sum().backward()
    assert_close(inputs[1].grad, inputs[0].grad, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shuffled", [False, True], ids=["sorted", "shuffled"])
@pytest.mark.parametrize("name", HALVING)
def test_halving_a_grid_of_even_extent_is_the_same_everywhere(name, shuffled, dtype):
    downsample = "minkowski" if name in ("torchsparse14", "minkowski") else "spconv"
    nets = both(name, HALVING, downsample, 2, 0, dtype)
    check(*nets, *cloud(8, dtype, shuffled))


@pytest.mark.parametrize("name", SEEN)
def test_a_kernel_of_three_makes_every_site_that_it_sees(name):
    """spconv's rule: o is there if some tap of it lies on a site."""
    check(*both(name, SEEN, "spconv", 3, 1, torch.float64), *cloud(9, torch.float64, True))


@pytest.mark.parametrize("name", FLOORED)
def test_a_kernel_of_three_floors_coordinates(name):
    """MinkowskiEngine's rule: o = floor(c / 2), whatever the kernel."""
    check(*both(name, FLOORED, "minkowski", 3, 1, torch.float64), *cloud(9, torch.float64, True))


def test_the_two_rules_make_other_sets_of_sites():
    """A sparse cloud: the first rule makes up to eight sites of one, the second at most one."""
    features, coords = cloud(40, torch.float64)
    counts = {}
    for rule in ("spconv", "minkowski"):
        net = Net(dialects.native(rule), 3, 1).double()
        coarse = net(features, coords)[2]
        counts[rule] = len(coarse)
        reached = {
            (b, *(o // 2 for o in place))
            for b, *cell in coords.tolist()
            for place in seen_from(cell, rule)
            if all(0 <= o < side for o, side in zip(place, shape_of(coords), strict=True))
        }
        assert sorted(reached) == sorted((b, *(v // 2 for v in c)) for b, *c in coarse.tolist())
    assert counts["minkowski"] <= len(coords) < counts["spconv"]


def seen_from(cell, rule):
    """The even places, in fine cells, to which a site leads."""
    if rule == "minkowski":
        return [[v // 2 * 2 for v in cell]]
    near = [[v + d for d in (-1, 0, 1) if (v + d) % 2 == 0] for v in cell]
    return [[x, y, z] for x in near[0] for y in near[1] for z in near[2]]
