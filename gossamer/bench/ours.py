"""gossamer's own answers: what its users call, module and value checks included.

A network's forward pass is that of `gossamer.fuse`, since that is how it is used for inference.

Where rows come shuffled, gossamer keeps its sites in key order, so the time includes bringing the
features there and the result back.
"""

import torch
from torch import Tensor

from gossamer.bench import networks
from gossamer.bench.cases import Problem, Values, Work, keys, pair_values, site_values
from gossamer.coords import Coords
from gossamer.nn.conv import SparseConv3d, SparseConvolution, SubMConv3d
from gossamer.ops.rows import permute
from gossamer.rulebook import Rulebook
from gossamer.tensor import SparseTensor

NAME = "gossamer"


def work(problem: Problem) -> Work:
    """What to time of gossamer for a problem."""
    if problem.case == "rulebook":
        return _rulebook(problem)
    if problem.case.startswith("network"):
        return networks.network_work(problem, networks.network(problem))
    return _layer(problem)


def cost(problem: Problem) -> tuple[int, float]:
    """The pairs of a problem, and its useful operations (none for a rulebook)."""
    if problem.case.startswith("network"):
        return networks.cost(problem)
    sites = _sites(problem)
    pairs = sites.rulebook(problem.geometry).pair_count()
    products = pairs * problem.channels**2
    return pairs, 2.0 * products * (3 if problem.case == "forward+backward" else 1)


def _rulebook(problem: Problem) -> Work:
    geometry, shape = problem.geometry, problem.scene.spatial_shape

    def run() -> tuple[Coords, Coords, Rulebook]:
        sites = _sites(problem)
        rulebook = sites.rulebook(geometry)
        assert rulebook.layout  # made when first asked for
        return sites, sites.output(geometry), rulebook

    def values(result: tuple[Coords, Coords, Rulebook]) -> Values:
        sites, output, rulebook = result
        tap, source, target = rulebook.triples().unbind(1)
        return pair_values(tap, keys(sites.rows, shape)[source], keys(output.rows, shape)[target])

    return Work(run, values)


def _layer(problem: Problem) -> Work:
    sites = _sites(problem)
    layer = _convolution(problem)
    features = problem.features()
    backward = problem.case == "forward+backward"
    gradient = problem.gradient(len(sites.output(problem.geometry)))

    def forward(features: Tensor) -> SparseTensor:
        given = features if sites.given is None else permute(features, sites.given)
        return layer(SparseTensor(given, sites))

    def run() -> tuple[SparseTensor, tuple[Tensor, ...]]:
        with torch.set_grad_enabled(backward):
            y = forward(features)
            # Sites that a strided layer makes are its own, and have no other order than theirs.
            out = y.given_order()
            wanted = [features, layer.weight]
            return y.with_features(out), torch.autograd.grad(
                out, wanted, gradient
            ) if backward else ()

    def values(result: tuple[SparseTensor, tuple[Tensor, ...]]) -> Values:
        y, gradients = result
        named = dict(zip(("gradient of features", "gradient of weight"), gradients, strict=False))
        if problem.kind == "submanifold":
            return {"features": y.features.detach(), **named}
        return {**site_values(y.coords, _output_shape(problem), y.features), **named}

    features.requires_grad_(backward)
    return Work(run, values)


def _convolution(problem: Problem) -> SparseConvolution:
    kind, geometry = SubMConv3d if problem.kind == "submanifold" else SparseConv3d, problem.geometry
    layer = kind(
        problem.channels,
        problem.channels,
        3,
        stride=geometry.stride,
        padding=geometry.padding,
        bias=False,
    )
    layer.load_state_dict({"weight": problem.weight()})
    return layer


def _sites(problem: Problem) -> Coords:
    sites, _ = Coords.of(problem.scene.coords, problem.scene.spatial_shape, 1)
    return sites


def _output_shape(problem: Problem) -> tuple[int, ...]:
    return problem.geometry.output_shape(problem.scene.spatial_shape)
