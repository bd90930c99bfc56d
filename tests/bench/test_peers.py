"""Peers: every one that is installed computes what gossamer computes, in every case it has."""

import sys
from dataclasses import replace

import pytest
import torch

from gossamer.bench import networks, ours
from gossamer.bench.agreement import TOLERANCE, DisagreementError, check_agreement
from gossamer.bench.cases import CASES, KINDS, LAYER_CASES, NETWORKS, ORDERS, Problem
from gossamer.bench.peers import PEERS, dense, gather_mm, installed
from gossamer.bench.scenes import Scene, scene_of_points
from tests.bench.clouds import points

SCENE = scene_of_points(points(), (0.5, 0.5, 0.5))
SMALL_VIEW = SCENE.window((41, 32, 32))
WIDTHS = (1, 5, 16)


def problem(case: str, kind: str, order: str, channels: int = 5) -> Problem:
    scene = SMALL_VIEW if kind == "second" else SCENE
    dtype = torch.float64 if case == "network step" else torch.float32
    scene = scene.shuffled() if order == "shuffled" else scene
    return Problem(case, kind, channels, order, scene, dtype)


def problems() -> list[Problem]:
    return [
        problem(case, kind, order, channels)
        for case in CASES
        for kind in (NETWORKS if case.startswith("network") else KINDS)
        for channels in (WIDTHS if case in LAYER_CASES else (16,))
        for order in ORDERS
    ]


def solved(who, problem: Problem) -> dict[str, torch.Tensor]:
    work = who.work(problem)
    return work.values(work.run())


def what_it_has(name: str) -> list[Problem]:
    if name == "spconv":
        return problems()
    peer = {"gather_mm": gather_mm, "dense": dense}[name]
    return [p for p in problems() if p.case in peer.CASES and not peer.refuses(p)]


@pytest.mark.parametrize(
    ("name", "problem"),
    [(name, problem) for name in PEERS for problem in what_it_has(name)],
    ids=str,
)
def test_a_peer_computes_what_gossamer_computes(name, problem):
    peers, missing = installed()
    if name not in peers:
        pytest.skip(next(note for note in missing if note.startswith(name)))
    check_agreement(name, solved(ours, problem), solved(peers[name], problem), TOLERANCE)


def test_operations_are_counted_by_pairs_and_channels():
    rulebook = problem("rulebook", "strided", "sorted", channels=0)
    pairs = len(solved(ours, rulebook)["pairs"])
    assert ours.cost(rulebook) == (pairs, 0.0)
    for case, times in (("forward", 1), ("forward+backward", 3)):
        found = ours.cost(problem(case, "strided", "sorted", 7))
        assert found == (pairs, times * 2.0 * pairs * 7 * 7)


def test_the_operations_of_a_network_are_those_of_its_layers():
    shape, channels = SMALL_VIEW.spatial_shape, (4, 16, 16, 32, 32, 32, 64, 64, 64, 64, 64, 64, 128)
    kinds = ["submanifold", "submanifold", *["strided", "submanifold", "submanifold"] * 3]
    grid = torch.zeros(1, 1, *shape)
    grid[(0, 0, *SMALL_VIEW.coords[:, 1:].long().unbind(1))] = 1
    products = total = 0
    for layer, kind in enumerate([*kinds, "out"]):
        size, stride = ((3, 1, 1), (2, 1, 1)) if kind == "out" else ((3, 3, 3), (2, 2, 2))
        stride = (1, 1, 1) if kind == "submanifold" else stride
        padding = (0, 0, 0) if kind == "out" else (0, 1, 1) if layer == 8 else (1, 1, 1)
        seen = torch.conv3d(grid, torch.ones(1, 1, *size), stride=stride, padding=padding)
        seen = seen * grid if kind == "submanifold" else seen
        products += int(seen.sum()) * channels[layer] * channels[layer + 1]
        total += int(seen.sum())
        grid = (seen > 0).float()
    forward = problem("network forward", "second", "sorted")
    assert networks.cost(forward) == (total, 2.0 * products)
    step = problem("network step", "second", "sorted")
    stem = len(solved(ours, replace(forward, case="rulebook", kind="submanifold"))["pairs"])
    assert networks.cost(step) == (total, 6.0 * products - 2.0 * stem * 4 * 16)


def test_a_difference_is_told_by_its_name_and_size():
    ones = {"features": torch.ones(4, 2)}
    with pytest.raises(DisagreementError, match=r"case, peer: features differ by 0\.1 of their"):
        check_agreement("case, peer", ones, {"features": torch.full((4, 2), 1.1)}, TOLERANCE)
    with pytest.raises(DisagreementError, match=r"shapes \(4, 2\) and \(4, 1\)"):
        check_agreement("case, peer", ones, {"features": torch.ones(4, 1)}, TOLERANCE)
    with pytest.raises(DisagreementError, match="only one of the two has sites"):
        check_agreement("case, peer", ones, {**ones, "sites": torch.zeros(4)}, TOLERANCE)
    whole = {"sites": torch.tensor([1, 2])}
    with pytest.raises(DisagreementError, match="sites differ"):
        check_agreement("case, peer", whole, {"sites": torch.tensor([1, 3])}, TOLERANCE)
    with pytest.raises(DisagreementError, match="features differ by nan"):
        check_agreement("case, peer", ones, {"features": torch.full((4, 2), torch.nan)}, TOLERANCE)


def test_a_peer_that_is_not_installed_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setitem(sys.modules, "spconv", None)
    for module in ("spconv", "spconv_networks"):
        monkeypatch.delitem(sys.modules, f"gossamer.bench.peers.{module}", raising=False)
    peers, notes = installed()
    assert list(peers) == ["gather_mm", "dense"]
    assert len(notes) == 1 and notes[0].startswith("spconv is left out")
    assert "pip install gossamer[bench]" in notes[0]


def test_the_dense_peer_refuses_a_grid_that_is_too_large():
    huge = replace(problem("forward", "strided", "sorted"), scene=Scene(SCENE.coords, (4000,) * 3))
    assert "6.4e+10 cells of 5 channels take" in dense.refuses(huge)
    assert "GB of memory" in dense.refuses(huge)
    assert dense.refuses(problem("forward", "strided", "sorted")) == ""


def test_spconv_refuses_a_grid_beyond_its_keys():
    spconv = pytest.importorskip("gossamer.bench.peers.spconv")
    huge = replace(problem("forward", "strided", "sorted"), scene=Scene(SCENE.coords, (4000,) * 3))
    assert "32-bit keys" in spconv.refuses(huge)
