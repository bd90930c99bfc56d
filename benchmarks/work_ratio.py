"""Products that a GPU makes for each pair of a rulebook, by dataflow and rows of a tile.

A tile walks every tap that any of its rows has. This counts, without a GPU, how much of that is for
pairs that there are not:

    python benchmarks/work_ratio.py SCAN --voxel 0.05 0.05 0.05 --json work-ratio.json
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from gossamer import Coords, Geometry, Rulebook, io, voxelize
from gossamer.io.atomic import written_beside
from gossamer.rulebook.table import Table

TILES = (32, 64, 128, 256)
AXES = 3
STRIDED = Geometry.of("regular", AXES, 3, stride=2, padding=1)
SUBMANIFOLD = Geometry.of("submanifold", AXES, 3)


def table_of(rulebook: Rulebook, geometry: Geometry, planes: int) -> Table:
    """The table that a GPU would have of a rulebook."""
    plain = Table.of(rulebook.triples(), rulebook.taps, rulebook.outputs)
    assert plain is not None  # no kernel has a pair twice
    return Table(plain.sources, plain.taps, plain.made, planes, geometry.significance)


def products(masks: Tensor, rows: int) -> int:
    """Rows times taps of all tiles, of masks [G, W, S/32]."""
    blocks = rows // 32
    padded = torch.nn.functional.pad(masks, (0, -masks.shape[2] % blocks))
    bits = (padded.unsqueeze(-1) >> torch.arange(32)) & 1
    return int(bits.unflatten(2, (-1, blocks)).amax(3).sum()) * rows


def ratios(rulebook: Rulebook, geometry: Geometry, planes: int) -> dict[str, list[float]]:
    """Products a pair by dataflow, for each of TILES."""
    table, pairs = table_of(rulebook, geometry, planes), max(1, rulebook.pair_count())
    dataflows = ["natural", "sorted", *(["planes"] if planes > 1 else [])]
    masks = {name: table.arranged(name)[2] for name in dataflows}
    return {n: [round(products(m, rows) / pairs, 3) for rows in TILES] for n, m in masks.items()}


def cases(sites: Coords) -> dict[str, tuple[Rulebook, Geometry, int]]:
    """The rulebooks of a level and of the next, with the planes that a dataflow may use."""
    strided, coarse = sites.rulebook(STRIDED), sites.output(STRIDED)
    three = STRIDED.planes
    return {
        "submanifold": (sites.rulebook(SUBMANIFOLD), SUBMANIFOLD, three),
        "strided, forward": (strided, STRIDED, three),
        "strided, backward": (strided.T, STRIDED, 1),
        "submanifold, a level down": (coarse.rulebook(SUBMANIFOLD), SUBMANIFOLD, three),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--voxel", type=float, nargs=AXES, default=(0.05, 0.05, 0.05), metavar="M")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    points = torch.as_tensor(io.read(given.scan).positions)
    sites = voxelize(points, torch.ones(len(points), 1), tuple(given.voxel))[0].sites
    result = {"scan": given.scan.name, "voxel": list(given.voxel), "voxels": len(sites)}
    result |= {"tiles": TILES, "cases": {}}
    print(f"{given.scan.name}, {len(sites):,} voxels; products a pair, tiles of {TILES} rows")
    for name, case in cases(sites).items():
        result["cases"][name] = found = ratios(*case)
        for dataflow, figures in found.items():
            print(f"  {name:26} {dataflow:8}", *(f"{figure:6.2f}" for figure in figures))
    if given.json:
        with written_beside(given.json) as unfinished:
            unfinished.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
