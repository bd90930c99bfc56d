"""A kernel compiled for a GPU that need not be there, and what the machine code takes."""

import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tests.gpu.launches import Launch

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_86": GPUTarget("cuda", 86, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
MATRIX = {
    "sm_80": ("mma.sync",),
    "sm_86": ("mma.sync",),
    "sm_90": ("wgmma.mma_async", "mma.sync"),
    "sm_100": ("tcgen05.mma", "mma.sync"),
    "gfx942": ("v_mfma",),
}
"""What an architecture's matrix instructions are called."""
COPY = re.compile(r"cp\.async\.c[ag]\.")
TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
    torch.bool: "i1",
}


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes.

    Args:
        registers: a thread.
        spilled: bytes of stack, or on AMD registers, that did not fit; 0 wanted.
        shared: bytes of shared memory.
        matrix: matrix instructions, by name.
        copies: asynchronous copies to shared memory.
        copies_in_loop: whether a loop has both copies and products.
    """

    registers: int
    spilled: int
    shared: int
    matrix: dict[str, int]
    copies: int
    copies_in_loop: bool


def usage(launch: Launch, arch: str) -> Usage:
    """Compile a launch for `arch`, and look at the code."""
    made = _compile(launch, arch)
    text = made.asm.get("ptx") or made.asm["amdgcn"]
    registers, spilled = _amd(text) if "amdgcn" in made.asm else _nvidia(made.asm["cubin"])
    counts = {name: text.count(name) for name in MATRIX[arch]}
    return Usage(
        registers,
        spilled,
        made.metadata.shared,
        {name: count for name, count in counts.items() if count},
        len(COPY.findall(text)),
        any(COPY.search(loop) and _multiplies(loop, arch) for loop in _loops(text)),
    )


def _compile(launch: Launch, arch: str):
    names = launch.kernel.arg_names
    types = {name: "constexpr" for name in names}
    constants, attributes = {}, {}
    for position, value in enumerate(launch.arguments):
        if isinstance(value, torch.dtype):
            types[names[position]] = "*" + TYPES[value]
            attributes[(position,)] = [["tt.divisibility", 16]]
        elif value == 1 and type(value) is int and _specialised(launch, position):
            constants[(position,)] = 1
        else:
            types[names[position]] = _scalar(value)
            if type(value) is int and value % 16 == 0 and _specialised(launch, position):
                attributes[(position,)] = [["tt.divisibility", 16]]
    constants.update({(names.index(name),): value for name, value in launch.constants.items()})
    source = ASTSource(fn=launch.kernel, signature=types, constexprs=constants, attrs=attributes)
    options = {"num_warps": launch.warps, "num_stages": launch.stages}
    return triton.compile(source, target=TARGETS[arch], options=options)


def _specialised(launch: Launch, position: int) -> bool:
    return not launch.kernel.params[position].do_not_specialize


def _scalar(value: int | float) -> str:
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


@cache
def _tool() -> str:
    own = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    return os.environ.get("TRITON_CUOBJDUMP_PATH") or str(own)


def _nvidia(cubin: bytes) -> tuple[int, int]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        command = [_tool(), "-res-usage", str(file)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack, local = map(
        int, re.search(r"REG:(\d+) STACK:(\d+).*?LOCAL:(\d+)", said).groups()
    )
    return registers, stack + local


def _amd(text: str) -> tuple[int, int]:
    def number(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", text)
        return int(found[1]) if found else 0

    spilled = number("vgpr_spill_count") + number("sgpr_spill_count")
    return number("vgpr_count"), spilled


def _multiplies(text: str, arch: str) -> bool:
    return any(name in text for name in (*MATRIX[arch], "fma.rn.f32"))


def _loops(text: str) -> list[str]:
    """What lies between each label and a later jump back to it."""
    labels = {m[1]: m.end() for m in re.finditer(r"^(\$?\w+):", text, re.MULTILINE)}
    jumps = re.finditer(r"\bbra(?:\.uni)?\s+(\$?\w+)", text)
    return [text[labels[j[1]] : j.start()] for j in jumps if labels.get(j[1], j.end()) < j.start()]
