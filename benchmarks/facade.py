"""What a layer of the spconv facade takes beyond gossamer's own.

    python benchmarks/facade.py FILE

50,000 voxels of a simulated scan of a street; each layer in eval without gradients, and in training
forward and backward; native on rows in key order, the facade on the same rows and on shuffled ones,
whose features are asked for in the caller's order at the end. All take turns in one process, on one
thread. FILE is the JSON file to write.
"""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import gossamer
from gossamer import nn
from gossamer.bench.scenes import Scene, scene_of
from gossamer.bench.timing import Contender, in_turns
from gossamer.compat.spconv import pytorch as spconv
from gossamer.doctor import processor

VOXELS, ROUNDS, CHANNELS = 50_000, 31, (16, 32, 64, 128)


def call(layer, x, backward: bool) -> Callable[[], object]:
    """One pass through a layer, its gradients thrown away."""

    def run():
        with torch.set_grad_enabled(backward):
            y = layer(x).features
        return torch.autograd.grad(y.sum(), list(layer.parameters())) if backward else y

    return run


def layers(channels: int) -> dict[str, tuple]:
    """Native and facade layers that do the same."""
    c, k = channels, 3
    strided = {"stride": 2, "padding": 1, "bias": False}
    return {
        "submanifold": (nn.SubMConv3d(c, c, k, bias=False), spconv.SubMConv3d(c, c, k, bias=False)),
        "strided": (nn.SparseConv3d(c, c, k, **strided), spconv.SparseConv3d(c, c, k, **strided)),
    }


def measure(scene: Scene, channels: int) -> list[dict[str, object]]:
    """A row a layer and mode."""
    features = torch.randn(len(scene), channels)
    order = torch.randperm(len(scene))
    grid = list(scene.spatial_shape)
    inputs = {
        "native": gossamer.SparseTensor(features, scene.coords, grid, 1),
        "facade": spconv.SparseConvTensor(features, scene.coords, grid, 1),
        "shuffled": spconv.SparseConvTensor(features[order], scene.coords[order], grid, 1),
    }
    rows = []
    for kind, (own, foreign) in layers(channels).items():
        for mode, backward in (("eval", False), ("training", True)):
            users = {"native": own, "facade": foreign, "shuffled": foreign}
            contenders = [Contender(1, call(users[n], inputs[n], backward)) for n in inputs]
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
    torch.manual_seed(0)
    machine = {
        "cpu": processor().model,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gossamer": gossamer.__version__,
        "voxels": len(scene),
        "rounds": ROUNDS,
        "threads": 1,
    }
    rows = [row for channels in CHANNELS for row in measure(scene, channels)]
    Path(sys.argv[1]).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
