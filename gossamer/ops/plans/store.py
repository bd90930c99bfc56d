"""What was measured on a device, as it is kept on disk: one file a device and version.

Reading is here, because a choice needs it; only `gossamer.tune` writes.
"""

import json
import os
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from gossamer.ops.plans.choice import DATAFLOWS, Choice, Demand, Tile
from gossamer.version import __version__

LIMITS = {
    "rows": (16, 256),
    "columns": (16, 256),
    "channels": (16, 256),
    "warps": (1, 16),
    "stages": (1, 9),
}
"""The least and the most that each number of a tile may be."""


@dataclass(frozen=True)
class Measured:
    """The best choices that were found.

    Args:
        dataflows: by the name of a problem without its rows, see `flow_name`.
        choices: by the name of a problem, see `name`; their dataflow is no part of it.
    """

    dataflows: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)

    def choice(self, demand: Demand, scale: int, usual: Choice) -> Choice:
        """The measured choice for a demand, for about as many rows, or else `usual`."""
        flow = self.dataflows.get(flow_name(demand, usual.precision), usual.dataflow)
        near = (name(demand, usual.precision, each) for each in (scale, scale + 1, scale - 1))
        found = next((self.choices[each] for each in near if each in self.choices), usual)
        return replace(found, dataflow=flow)

    def merged(self, newer: "Measured") -> "Measured":
        """Both, and of what both have, `newer`'s."""
        return Measured({**self.dataflows, **newer.dataflows}, {**self.choices, **newer.choices})

    def as_json(self) -> dict[str, Any]:
        """What `parsed` reads."""
        choices = {name: asdict(choice) for name, choice in sorted(self.choices.items())}
        return {"dataflows": dict(sorted(self.dataflows.items())), "choices": choices}


def scale(rows: int) -> int:
    """Problems whose rows have the same scale are the same: floor(log2(rows)) + 1."""
    return int(rows).bit_length()


def name(demand: Demand, precision: str, scale: int) -> str:
    """What a problem is called in the file, but for what the file is of."""
    dtype = str(demand.dtype).removeprefix("torch.")
    channels = f"{demand.inputs}->{demand.outputs}"
    return f"{demand.op} {dtype} {precision} {channels} taps {demand.taps} rows 2^{scale}"


def flow_name(demand: Demand, precision: str) -> str:
    """The same for a dataflow, which a convolution and its gradient share, whatever the rows."""
    dtype = str(demand.dtype).removeprefix("torch.")
    narrow, wide = sorted((demand.inputs, demand.outputs))
    return f"{dtype} {precision} {narrow},{wide} taps {demand.taps}"


def folder() -> Path:
    """Where measured choices are kept: $GOSSAMER_CACHE_DIR, or `gossamer` in the user's cache."""
    if own := os.environ.get("GOSSAMER_CACHE_DIR"):
        return Path(own)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "gossamer"


def path(device: str) -> Path:
    """The file of a device, of this Triton and this gossamer."""
    words = (device, f"triton-{_triton_version()}", f"gossamer-{__version__}")
    return folder() / ("_".join(re.sub(r"[^\w.+-]+", "-", word) for word in words) + ".json")


@cache
def measured(device: str) -> Measured | None:
    """What was measured on a device, None where nothing was; a damaged file is nothing, and told.

    Args:
        device: its name; "" has nothing.
    """
    if not device:
        return None
    try:
        return read(path(device))
    except ValueError as damage:
        warnings.warn(f"{damage}; delete it, or tune again", stacklevel=2)
    except (OSError, RuntimeError):
        # No such file, one that others keep from us, or a user without a home.
        pass
    return None


def read(file: Path) -> Measured:
    """What a file says.

    Raises:
        OSError: it can't be read.
        ValueError: it is damaged.
    """
    try:
        return parsed(json.loads(file.read_text()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} is no file of measured choices ({error!r})") from error


def parsed(value: Any) -> Measured:
    """What JSON of `Measured.as_json` says."""
    flows = {str(name): _flow(flow) for name, flow in value["dataflows"].items()}
    return Measured(flows, {str(n): _choice(c) for n, c in value["choices"].items()})


def _choice(value: dict[str, Any]) -> Choice:
    tile = Tile(**{name: _within(name, number) for name, number in value["tile"].items()})
    return Choice(
        _flow(value["dataflow"]),
        tile,
        _count(value["limit"], 0),
        _count(value["parts"], 0),
        str(value["precision"]),
    )


def _within(name: str, value: Any) -> int:
    """A number of a tile that kernels can take: they would read past a table's end by others."""
    least, most = LIMITS[name]
    if _count(value, least) > most or (name != "stages" and value & (value - 1)):
        raise ValueError(f"{name} of a tile is {value}; wanted a power of 2, {least} to {most}")
    return value


def _flow(value: Any) -> str:
    if value not in DATAFLOWS:
        raise ValueError(f"no dataflow is called {value!r}")
    return value


def _count(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no count from {least}")
    return value


@cache
def _triton_version() -> str:
    try:
        from triton import __version__ as version
    except ImportError:
        return "none"
    return version
