"""Writes docs/gpu-resources.md: `python -m tests.gpu.resources --write`."""

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
import triton

from gossamer.ops.plans.chips import chip
from tests.gpu.cases import CASES, launches
from tests.gpu.compiled import TARGETS, Usage, usage
from tests.gpu.kernels import multiplying
from tests.gpu.launches import Launch

FILE = Path(__file__).parents[2] / "docs" / "gpu-resources.md"
ABOUT = """# What the GPU kernels take

Compiled ahead of time with Triton {triton}, without a GPU, for every line of the table of plans;
written by `python -m tests.gpu.resources --write`. `tests/gpu/test_compiled.py` holds what matters
of it: nothing spills, shared memory fits, products are made by matrix instructions that are fed by
asynchronous copies. It says nothing about time.

Kernels that multiply matrices are listed one by one: data type and precision, channels, tile
(output rows x columns by channels a step; of `outer_products`, input x output channels by pairs a
step), warps, stages, and what of a convolution a launch does. The others are listed as the most
that any launch takes. Registers are those of a thread, on gfx942 its vector registers. Copies are
asynchronous ones to shared memory, which AMD's machine code does in other ways.
"""
HEAD = """
## {arch}

{processors} processors, {shared} KiB of shared memory for a program.

| kernel | configuration | registers | spilled | shared memory | matrix instructions | copies |
| --- | --- | ---: | ---: | ---: | --- | ---: |
"""


def described(launch: Launch) -> str:
    """A launch in a few words."""
    c, dtype = launch.constants, str(launch.arguments[0]).removeprefix("torch.")
    if launch.name not in multiplying():
        return f"{launch.name} {dtype}"
    if "PAIRS" in c:
        tile, what = f"{c['TILE_IN']}x{c['TILE_OUT']}/{c['PAIRS']}", ""
    else:
        tile = f"{c['TILE_ROWS']}x{c['TILE_OUT']}/{c['TILE_IN']}"
        what = {"items": f" items of {c['LIMIT']}"}.get(c["STORE"], f" {c['STORE']}")
        what += f", {c['ORDERS']} orders" if c["ORDERS"] > 1 else ""
    number = f"{dtype} {c['PRECISION']}" if dtype == "float32" else dtype
    size = f"{c['C_IN']}->{c['C_OUT']}"
    return f"{launch.name} {number} {size} {tile} w{launch.warps} s{launch.stages}{what}"


def all_launches(arch: str) -> list[Launch]:
    """Every launch on `arch`, once."""
    found = {launch.key: launch for case in CASES for launch in launches(case, arch)}
    return list(found.values())


def configurations(arch: str) -> set[str]:
    """What the lines of the document are about."""
    return {_row_name(launch) for launch in all_launches(arch)}


def _row_name(launch: Launch) -> str:
    return described(launch) if launch.name in multiplying() else launch.name


def listed(text: str) -> dict[str, set[str]]:
    """What the lines of a document are about, by architecture."""
    found: dict[str, set[str]] = {}
    arch = ""
    for line in text.splitlines():
        if line.startswith("## "):
            arch = line[3:]
            found[arch] = set()
        elif line.startswith("| ") and not line.startswith(("| kernel", "| ---")):
            kernel, configuration, *_ = (cell.strip() for cell in line.strip("|").split("|"))
            found[arch].add(f"{kernel} {configuration}".strip())
    return found


def document() -> str:
    """The text, with everything compiled."""
    text = ABOUT.format(triton=triton.__version__)
    for arch in TARGETS:
        gpu = chip(arch)
        text += HEAD.format(arch=arch, processors=gpu.processors, shared=gpu.shared // 1024)
        rows: dict[str, list[Usage]] = {}
        for launch in all_launches(arch):
            rows.setdefault(_row_name(launch), []).append(usage(launch, arch))
        for name in sorted(rows):
            text += _row(name, rows[name])
        print(arch, len(rows), "rows", flush=True)  # noqa: T201
    return text


def _row(name: str, found: Iterable[Usage]) -> str:
    kernel, _, configuration = name.partition(" ")
    most = list(found)
    matrix = max((each.matrix for each in most), key=lambda counts: sum(counts.values()))
    cells = (
        kernel,
        configuration,
        max(each.registers for each in most),
        max(each.spilled for each in most),
        max(each.shared for each in most),
        ", ".join(f"{count} {name}" for name, count in matrix.items()),
        max(each.copies for each in most) or "",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    FILE.write_text(document())
