"""Rulebook and forward pass of one submanifold layer, beside spconv's CPU build at one thread.

    python benchmarks/foundation.py [SCAN] [--json FILE]

Both libraries get the same voxels in the same order in one process; rounds alternate between them.
spconv runs with one thread because with more its CPU build adds rows in a data race.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

# Set before torch loads: threads that spin while they wait would slow the other library down.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor

import gossamer
from gossamer import SparseTensor
from gossamer.nn import SubMConv3d
from gossamer.ops.conv.microkernel import HOST

ROUNDS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", nargs="?", help="a file of gossamer.io; default: a simulated scan")
    parser.add_argument("--voxel-size", type=float, nargs=3, default=(0.05, 0.05, 0.1))
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    coords, shape = voxels(options.scan, options.voxel_size)
    print(f"{options.scan or 'simulated scan'}: {len(coords)} voxels, grid {shape}")
    rows = [row for threads in (1, 2) for row in compare(coords, shape, options.channels, threads)]
    print("case       C  threads  gossamer ms  spconv ms (1 thread)  ratio")
    for row in rows:
        print(
            f"{row['case']:<9}{row['channels']:>3}{row['threads']:>9}{row['ours_ms']:>13.2f}"
            f"{row['peer_ms']:>22.2f}{row['ratio']:>7.1f}"
        )
    if options.json:
        found = {"machine": machine(), "scan": Path(options.scan or "simulated").name, "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def voxels(scan: str | None, voxel_size: list[float]) -> tuple[Tensor, tuple[int, ...]]:
    """Sorted voxels [N, 4] from 0 up, and the grid they fill."""
    if scan:
        from gossamer.io import read

        points = read(scan).positions
    else:
        from gossamer.synthetic import simulate

        points = simulate(seed=0).cloud.positions
    points = points[points.isfinite().all(1) & (points.abs().amax(1) < 75)]
    x, _ = gossamer.voxelize(points, points.float(), voxel_size)
    coords = x.coords.clone()
    coords[:, 1:] -= coords[:, 1:].amin(0)
    return coords, tuple((coords[:, 1:].amax(0) + 1).tolist())


def compare(
    coords: Tensor, shape: tuple[int, ...], channels: list[int], threads: int
) -> list[dict]:
    """One row a case: medians and minima of both libraries."""
    from spconv.core import ConvAlgo
    from spconv.pytorch import functional, ops

    ones = [1, 1, 1]
    build = (coords, 1, list(shape), ConvAlgo.Native, [3] * 3, ones, ones, ones, [0] * 3, True)
    _, pairs, counts = ops.get_indice_pairs(*build)

    def fresh() -> SparseTensor:
        return SparseTensor(torch.empty(len(coords), 1), coords, shape, 1)

    layer = SubMConv3d(1, 1, 3)
    ours = with_threads(threads, lambda: fresh().sites.rulebook(layer.geometry).pairs)
    rows = [row("rulebook", 0, threads, ours, lambda: ops.get_indice_pairs(*build))]
    for c in channels:
        x = SparseTensor(torch.randn(len(coords), c), coords, shape, 1)
        layer = SubMConv3d(c, c, 3, bias=False).eval()
        weight = layer.weight.detach().permute(2, 0, 1).reshape(c, 3, 3, 3, c).contiguous()

        def peer(x=x, weight=weight) -> Tensor:
            return functional.indice_subm_conv(
                x.features, weight, pairs, counts, len(coords), ConvAlgo.Native
            )

        with torch.no_grad():
            difference = (layer(x).features - peer()).abs().max().item()
            assert difference < 1e-4, f"the two libraries differ by {difference}"
            ours = with_threads(threads, lambda layer=layer, x=x: layer(x))
            rows.append(row("forward", c, threads, ours, peer))
    return rows


def with_threads(threads: int, work: Callable) -> Callable:
    def run() -> None:
        torch.set_num_threads(threads)
        work()
        torch.set_num_threads(1)

    return run


def row(case: str, channels: int, threads: int, ours: Callable, peer: Callable) -> dict:
    torch.set_num_threads(1)
    ours_ms, peer_ms = timed(ours, peer)
    return {
        "case": case,
        "channels": channels,
        "threads": threads,
        "ours_ms": statistics.median(ours_ms),
        "ours_min_ms": min(ours_ms),
        "peer": "spconv 2.3.8, 1 thread",
        "peer_ms": statistics.median(peer_ms),
        "peer_min_ms": min(peer_ms),
        "ratio": statistics.median(peer_ms) / statistics.median(ours_ms),
    }


def timed(*works: Callable) -> list[list[float]]:
    """Milliseconds of ROUNDS alternating calls of each, after a warm one."""
    times: list[list[float]] = [[] for _ in works]
    for round_number in range(ROUNDS + 1):
        for work, record in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            if round_number:
                record.append((time.perf_counter() - start) * 1e3)
    return times


def machine() -> dict:
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "vector_bytes": HOST.vector_bytes,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gossamer": gossamer.__version__,
    }


if __name__ == "__main__":
    with torch.no_grad():
        main()
