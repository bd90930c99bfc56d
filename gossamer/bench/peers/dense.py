"""The dense convolution of torch, over the whole grid, where that fits."""

import os

import torch
from torch import Tensor
from torch.nn import functional

from gossamer.bench.cases import LAYER_CASES, Problem, Values, Work, keys

NAME = "torch conv3d"
SAFE_THREADS = None
CASES = LAYER_CASES
# So many operations take seconds on a core, and a case has some forty passes.
MOST_FLOPS = 1e11


def refuses(problem: Problem) -> str:
    """Why it cannot take a problem, or ""."""
    if problem.order != "sorted":
        return "a grid has no order of rows"
    cells, channels = problem.scene.cells, problem.channels
    # Input, output and the gradients of both.
    size = cells * channels * 4 * (4 if problem.case == "forward+backward" else 2)
    if size > _free_memory() / 2:
        return f"{cells:.3g} cells of {channels} channels take {size / 1e9:.0f} GB of memory"
    if 2 * 27 * cells * channels**2 > MOST_FLOPS:
        return f"{cells:.3g} cells of {channels} channels take minutes"
    return ""


def work(problem: Problem) -> Work:
    """What to time of it for a problem."""
    scene, geometry = problem.scene, problem.geometry
    backward = problem.case == "forward+backward"
    weight = problem.weight().unflatten(0, (3, 3, 3)).permute(4, 3, 0, 1, 2).contiguous()
    inputs = tuple(scene.coords.long().unbind(1))
    grid = _grid(scene.spatial_shape, inputs, problem.features())
    padding = 1 if problem.kind == "submanifold" else geometry.padding
    outputs = _outputs(problem)
    gradient = None
    if backward:
        rows = problem.gradient(len(outputs[0]))
        gradient = _grid(geometry.output_shape(scene.spatial_shape), outputs, rows)

    def run() -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(backward):
            y = functional.conv3d(grid, weight, stride=geometry.stride, padding=padding)
            return y, *(torch.autograd.grad(y, [grid, weight], gradient) if backward else ())

    def values(result: tuple[Tensor, ...]) -> Values:
        y, *gradients = (tensor.detach() for tensor in result)
        found = {"features": _at(y, outputs)}
        if problem.kind != "submanifold":
            shape = geometry.output_shape(scene.spatial_shape)
            found["sites"] = keys(torch.stack(outputs, dim=1), shape)
        if backward:
            found["gradient of features"] = _at(gradients[0], inputs)
            found["gradient of weight"] = gradients[1].permute(2, 3, 4, 1, 0).flatten(0, 2)
        return found

    grid.requires_grad_(backward)
    weight.requires_grad_(backward)
    return Work(run, values)


def _outputs(problem: Problem) -> tuple[Tensor, ...]:
    """Where the output is wanted: at the scene's rows, or in key order wherever a tap sees one."""
    coords = problem.scene.coords.long()
    if problem.kind == "submanifold":
        return tuple(coords.unbind(1))
    occupied = _grid(
        problem.scene.spatial_shape, tuple(coords.unbind(1)), torch.ones(len(coords), 1)
    )
    geometry = problem.geometry
    seen = functional.max_pool3d(occupied, 3, geometry.stride, geometry.padding)
    return tuple(seen[:, 0].nonzero().unbind(1))


def _grid(shape: tuple[int, ...], places: tuple[Tensor, ...], features: Tensor) -> Tensor:
    """[1, C, *shape]: `features` at `places`, zero elsewhere."""
    grid = features.new_zeros(1, *shape, features.shape[1])
    grid[places] = features
    return grid.movedim(-1, 1).contiguous()


def _at(grid: Tensor, places: tuple[Tensor, ...]) -> Tensor:
    batch, *axes = places
    return grid[(batch, slice(None), *axes)]


def _free_memory() -> int:
    """Bytes; where the system does not tell, a laptop's worth."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
