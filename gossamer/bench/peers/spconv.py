"""spconv's CPU build.

With more than one thread it adds rows in a data race, so some of its results are wrong; and on a
PyTorch without CUDA its gradients raise, because they ask for a CUDA stream. The first is said
beside each figure, the second is mended here.
"""

from typing import Any

import torch
from spconv import __version__
from spconv.core import ConvAlgo
from spconv.pytorch import functional, ops
from torch import Tensor

from gossamer.bench import cases
from gossamer.bench.cases import (
    Problem,
    Values,
    Work,
    key_rank,
    keys,
    pair_values,
    site_values,
)
from gossamer.bench.networks import network_work
from gossamer.bench.peers.spconv_networks import from_spconv, network, to_spconv

NAME = f"spconv {__version__}"
SAFE_THREADS = 1
CASES = cases.CASES
MOST_CELLS = 2**31  # its keys have 32 bits

Pairs = tuple[Tensor, Tensor, Tensor]  # output sites [M, 4], pairs [2, K, N], how many of each tap


def refuses(problem: Problem) -> str:
    """Why it cannot take a problem, or ""."""
    if problem.scene.cells >= MOST_CELLS:
        return f"a grid of {problem.scene.cells:.3g} cells is more than its 32-bit keys can number"
    return ""


def work(problem: Problem) -> Work:
    """What to time of it for a problem."""
    if not torch.cuda.is_available():
        ops.get_current_stream = lambda: 0
    if problem.case == "rulebook":
        return Work(lambda: _pairs(problem), lambda pairs: _pair_values(problem, pairs))
    if problem.case.startswith("network"):
        return network_work(problem, network(problem))
    return _layer(problem)


def _pairs(problem: Problem) -> Pairs:
    geometry, scene = problem.geometry, problem.scene
    size = [3, 3, 3]
    steps = [list(axes) for axes in (geometry.stride, geometry.padding, geometry.dilation)]
    grid = (scene.coords, 1, list(scene.spatial_shape))
    submanifold = problem.kind == "submanifold"
    return ops.get_indice_pairs(*grid, ConvAlgo.Native, size, *steps, [0] * 3, submanifold)


def _pair_values(problem: Problem, result: Pairs) -> Values:
    sites, pairs, counts = result
    source, target, tap = [], [], []
    for k, count in enumerate(_counts(problem, counts.tolist())):
        rows = pairs[:, k, :count].long()
        if problem.kind == "submanifold" and k == len(counts) // 2:
            rows = torch.arange(len(sites)).expand(2, -1)
        source.append(rows[0])
        target.append(rows[1])
        tap.append(torch.full_like(rows[0], k))
    shape = problem.scene.spatial_shape
    read = keys(problem.scene.coords, shape)[torch.cat(source)]
    written = keys(sites, shape)[torch.cat(target)]
    return pair_values(torch.cat(tap), read, written)


def _counts(problem: Problem, counts: list[int]) -> list[int]:
    """How many pairs each tap has; of a submanifold kernel it counts the first half only."""
    if problem.kind != "submanifold":
        return counts
    half = len(counts) // 2
    return [*counts[:half], 0, *counts[:half][::-1]]


def _layer(problem: Problem) -> Work:
    sites, pairs, counts = _pairs(problem)
    shape = problem.geometry.output_shape(problem.scene.spatial_shape)
    submanifold = problem.kind == "submanifold"
    convolve: Any = functional.indice_subm_conv if submanifold else functional.indice_conv
    backward = problem.case == "forward+backward"
    channels = problem.channels
    features, weight = problem.features(), problem.weight()
    weight = to_spconv(weight, torch.Size([channels, 3, 3, 3, channels])).contiguous()
    gradient = problem.gradient(len(sites))
    if not submanifold:
        gradient = gradient[key_rank(sites, shape)]

    def run() -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(backward):
            y = convolve(features, weight, pairs, counts, len(sites), ConvAlgo.Native)
            return y, *(torch.autograd.grad(y, [features, weight], gradient) if backward else ())

    def values(result: tuple[Tensor, ...]) -> Values:
        y, *gradients = result
        found = {"features": y.detach()} if submanifold else site_values(sites, shape, y)
        if backward:
            found["gradient of features"] = gradients[0]
            found["gradient of weight"] = from_spconv(gradients[1])
        return found

    features.requires_grad_(backward)
    weight.requires_grad_(backward)
    return Work(run, values)
