"""What a layer of a facade takes beyond gossamer's own.

    python benchmarks/facade.py FILE [LIBRARY]

50,000 voxels of a simulated scan of a street; each layer in eval without gradients, and in training
forward and backward; native on rows in key order, the facade on the same rows and on shuffled ones,
whose features are asked for in the caller's order at the end. All take turns in one process, on one
thread. FILE is the JSON file to write; LIBRARY is spconv (default), torchsparse, torchsparse14 or
minkowski.
"""

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

import gossamer
from gossamer import nn
from gossamer.bench.scenes import Scene, scene_of
from gossamer.bench.timing import Contender, in_turns
from gossamer.compat import minkowski, torchsparse, torchsparse14
from gossamer.compat.spconv import pytorch as spconv
from gossamer.compat.torchsparse import nn as spnn
from gossamer.compat.torchsparse14 import nn as spnn14
from gossamer.doctor import processor

VOXELS, ROUNDS, CHANNELS = 50_000, 31, (16, 32, 64, 128)


@dataclass(frozen=True)
class Facade:
    """How a library makes a tensor, reads its features, and makes layers without bias.

    Args:
        tensor: from features, coordinates and the grid.
        features: the name of the attribute that has them, in the caller's order.
        layer: from channels and a stride, which 3x3x3 taps are moved by.
        downsample: its rule for the sites of a strided layer.
    """

    tensor: Callable
    features: str
    layer: Callable
    downsample: str


def spconv_layer(c: int, stride: int):
    options = {"padding": 1, "bias": False}
    one = stride == 1
    kind = spconv.SubMConv3d if one else spconv.SparseConv3d
    return kind(c, c, 3, stride, **options)


FACADES = {
    "spconv": Facade(
        lambda f, c, grid: spconv.SparseConvTensor(f, c, grid, 1),
        "features",
        spconv_layer,
        "spconv",
    ),
    "torchsparse": Facade(
        lambda f, c, grid: torchsparse.SparseTensor(f, c, spatial_range=(1, *grid)),
        "feats",
        lambda c, stride: spnn.Conv3d(c, c, 3, stride, 1),
        "spconv",
    ),
    "torchsparse14": Facade(
        lambda f, c, grid: torchsparse14.SparseTensor(f, c[:, [1, 2, 3, 0]]),
        "feats",
        lambda c, stride: spnn14.Conv3d(c, c, 3, stride),
        "spconv",
    ),
    "minkowski": Facade(
        lambda f, c, grid: minkowski.SparseTensor(f, c),
        "F",
        lambda c, stride: minkowski.MinkowskiConvolution(
            c, c, kernel_size=3, stride=stride, dimension=3
        ),
        "minkowski",
    ),
}


def call(layer, x, features: str, backward: bool) -> Callable[[], object]:
    """One pass through a layer, its gradients thrown away."""

    def run():
        with torch.set_grad_enabled(backward):
            y = getattr(layer(x), features)
        return torch.autograd.grad(y.sum(), list(layer.parameters())) if backward else y

    return run


def layers(channels: int, facade: Facade) -> dict[str, tuple]:
    """Native and facade layers that do the same."""
    c = channels
    strided = nn.SparseConv3d(
        c, c, 3, stride=2, padding=1, bias=False, downsample=facade.downsample
    )
    return {
        "submanifold": (nn.SubMConv3d(c, c, 3, bias=False), facade.layer(c, 1)),
        "strided": (strided, facade.layer(c, 2)),
    }


def measure(scene: Scene, channels: int, facade: Facade) -> list[dict[str, object]]:
    """A row a layer and mode."""
    features = torch.randn(len(scene), channels)
    order = torch.randperm(len(scene))
    grid = list(scene.spatial_shape)
    inputs = {
        "native": gossamer.SparseTensor(features, scene.coords, grid, 1),
        "facade": facade.tensor(features, scene.coords, grid),
        "shuffled": facade.tensor(features[order], scene.coords[order], grid),
    }
    rows = []
    for kind, (own, foreign) in layers(channels, facade).items():
        for mode, backward in (("eval", False), ("training", True)):
            calls = {
                "native": call(own, inputs["native"], "features", backward),
                "facade": call(foreign, inputs["facade"], facade.features, backward),
                "shuffled": call(foreign, inputs["shuffled"], facade.features, backward),
            }
            contenders = [Contender(1, calls[name]) for name in inputs]
            times = dict(zip(inputs, in_turns(contenders, ROUNDS), strict=True))
            row: dict[str, object] = {"layer": kind, "channels": channels, "mode": mode}
            row |= {f"{name}_ms": round(t.median, 3) for name, t in times.items()}
            row |= {f"{name}_min_ms": round(t.minimum, 3) for name, t in times.items()}
            native = times["native"]
            for name in ("facade", "shuffled"):
                row[f"{name}_over_native"] = round(times[name].median / native.median, 3)
                row[f"{name}_over_native_min"] = round(times[name].minimum / native.minimum, 3)
            print(row, flush=True)
            rows.append(row)
    return rows


def main() -> None:
    full = scene_of(None, (0.05, 0.05, 0.1))
    scene = Scene(full.coords[:VOXELS].contiguous(), full.spatial_shape)
    library = sys.argv[2] if len(sys.argv) > 2 else "spconv"
    torch.manual_seed(0)
    machine = {
        "cpu": processor().model,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gossamer": gossamer.__version__,
        "facade": library,
        "voxels": len(scene),
        "rounds": ROUNDS,
        "threads": 1,
    }
    rows = [row for channels in CHANNELS for row in measure(scene, channels, FACADES[library])]
    Path(sys.argv[1]).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
