"""Plain PyTorch: for every tap gather rows, multiply them, add them where they belong."""

import torch
from torch import Tensor

from gossamer.bench.cases import (
    LAYER_CASES,
    Problem,
    Values,
    Work,
    key_rank,
    keys,
    pair_values,
    site_values,
)

NAME = "torch gather-mm"
SAFE_THREADS = None
CASES = ("rulebook", *LAYER_CASES)

Tap = tuple[Tensor, Tensor]  # [P] int64 each: rows to read, rows to write


def refuses(problem: Problem) -> str:
    """Why it cannot take a problem, or ""."""
    return ""


def work(problem: Problem) -> Work:
    """What to time of it for a problem."""
    return _rulebook(problem) if problem.case == "rulebook" else _layer(problem)


def _rulebook(problem: Problem) -> Work:
    coords, shape = problem.scene.coords, problem.scene.spatial_shape

    def values(result: tuple[Tensor, list[Tap]]) -> Values:
        sites, taps = result
        tap = torch.cat([torch.full_like(source, k) for k, (source, _) in enumerate(taps)])
        source, target = (torch.cat(rows) for rows in zip(*taps, strict=True))
        return pair_values(tap, keys(coords, shape)[source], keys(sites, shape)[target])

    return Work(lambda: _pairs(problem), values)


def _layer(problem: Problem) -> Work:
    sites, taps = _pairs(problem)
    shape = problem.geometry.output_shape(problem.scene.spatial_shape)
    backward = problem.case == "forward+backward"
    features, weight = problem.features(), problem.weight()
    gradient = problem.gradient(len(sites))
    if problem.kind != "submanifold":
        gradient = gradient[key_rank(sites, shape)]

    def run() -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(backward):
            y = features.new_zeros(len(sites), problem.channels)
            for k, (source, target) in enumerate(taps):
                y.index_add_(0, target, features.index_select(0, source) @ weight[k])
            return y, *(torch.autograd.grad(y, [features, weight], gradient) if backward else ())

    def values(result: tuple[Tensor, ...]) -> Values:
        y, *gradients = result
        named = dict(zip(("gradient of features", "gradient of weight"), gradients, strict=False))
        if problem.kind == "submanifold":
            return {"features": y.detach(), **named}
        return {**site_values(sites, shape, y), **named}

    features.requires_grad_(backward)
    weight.requires_grad_(backward)
    return Work(run, values)


def _pairs(problem: Problem) -> tuple[Tensor, list[Tap]]:
    """The output sites [M, 4], and the pairs of every tap, by sorting and searching keys."""
    scene, geometry = problem.scene, problem.geometry
    shape = geometry.output_shape(scene.spatial_shape)
    stride = torch.tensor(geometry.stride)
    reached = []  # by tap: which rows lead somewhere, and the number of the site they lead to
    for offset in geometry.offsets:
        fine = scene.coords[:, 1:] - torch.tensor(offset)
        coarse = fine.div(stride, rounding_mode="floor")
        inside = (coarse * stride == fine) & (coarse >= 0) & (coarse < torch.tensor(shape))
        rows = inside.all(1).nonzero().squeeze(1)
        sites = torch.cat([scene.coords[rows, :1], coarse[rows]], dim=1)
        reached.append((rows, keys(sites, shape)))
    if problem.kind == "submanifold":
        out, number = scene.coords, keys(scene.coords, shape)
    else:
        number = torch.cat([found for _, found in reached]).unique()
        out = _unnumbered(number, shape)
    number, order = number.sort()
    return out, [_found(number, order, *tap) for tap in reached]


def _found(number: Tensor, order: Tensor, rows: Tensor, wanted: Tensor) -> Tap:
    place = torch.searchsorted(number, wanted).clamp(max=len(number) - 1)
    there = number[place] == wanted
    return rows[there], order[place[there]]


def _unnumbered(number: Tensor, shape: tuple[int, ...]) -> Tensor:
    axes = []
    for extent in reversed(shape):
        axes.append(number % extent)
        number = number.div(extent, rounding_mode="floor")
    return torch.stack([number, *reversed(axes)], dim=1).int()
