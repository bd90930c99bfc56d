"""Which GPU a device is, and what the choice of a plan needs to know about it."""

import os
from dataclasses import dataclass
from functools import cache

import torch

INTERPRETER = "interpreter"
KIB = 1024


@dataclass(frozen=True)
class Chip:
    """A kind of GPU.

    Args:
        family: architectures that take the same plans.
        processors: of its largest card; what one program runs on.
        shared: bytes of shared memory that one program may have.
    """

    family: str
    processors: int
    shared: int


CHIPS = {
    "sm_80": Chip("ampere", 108, 163 * KIB),
    "sm_86": Chip("consumer", 84, 99 * KIB),
    "sm_89": Chip("consumer", 128, 99 * KIB),
    "sm_90": Chip("hopper", 132, 227 * KIB),
    "sm_100": Chip("blackwell", 148, 227 * KIB),
    "sm_120": Chip("consumer", 170, 99 * KIB),
    "gfx90a": Chip("cdna", 104, 64 * KIB),
    "gfx942": Chip("cdna", 304, 64 * KIB),
    "gfx950": Chip("cdna", 256, 160 * KIB),
    "gfx1100": Chip("rdna", 96, 64 * KIB),
    "gfx1201": Chip("rdna", 64, 64 * KIB),
    INTERPRETER: Chip("interpreter", 1, 1 << 30),
}
"""Every architecture that plans were made for; others take those of the nearest."""


def architecture(device: torch.device) -> str:
    """What kernels for `device` are compiled for: "sm_90", "gfx942" …, or "interpreter" on a CPU.

    Args:
        device: without an index, the current one of its type.
    """
    if device.type != "cuda":
        return INTERPRETER
    index = device.index
    return _of_index(torch.cuda.current_device() if index is None else index)


@cache
def _of_index(index: int) -> str:
    if torch.version.hip:
        # With features of the chip behind colons.
        return torch.cuda.get_device_properties(index).gcnArchName.split(":")[0]
    major, minor = torch.cuda.get_device_capability(index)
    return f"sm_{major}{minor}"


@cache
def device_name(arch: str) -> str:
    """The name of the first device of `arch` in this machine, "" where there is none."""
    if arch == INTERPRETER:
        # Without Triton's interpreter, a CPU computes in other ways, which nobody tunes.
        return INTERPRETER if os.environ.get("TRITON_INTERPRET") else ""
    for index in range(torch.cuda.device_count()):
        if _of_index(index) == arch:
            return torch.cuda.get_device_name(index)
    return ""


@cache
def chip(arch: str) -> Chip:
    """What is known of `arch`, or of the nearest known architecture before it.

    Raises:
        ValueError: that is no name of an architecture, or is one older than all known.
    """
    if arch in CHIPS:
        return CHIPS[arch]
    kind = next((kind for kind in ("sm_", "gfx9", "gfx1") if arch.startswith(kind)), None)
    known = sorted((name for name in CHIPS if kind and name.startswith(kind)), key=_number)
    try:
        older = [name for name in known if _number(name) < _number(arch)]
    except ValueError:
        older = []
    if not older:
        raise ValueError(
            f"arch is {arch!r}; wanted {', '.join(CHIPS)}, or a newer one of their makers"
        )
    return CHIPS[older[-1]]


def _number(arch: str) -> int:
    # AMD counts steps in hexadecimal: gfx90a comes before gfx942.
    return int(arch[3:]) if arch.startswith("sm_") else int(arch[3:], 16)
