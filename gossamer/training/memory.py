"""How much memory a call takes at its highest, where the operating system tells."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(call: Callable[[], Any]) -> int | None:
    """By how many bytes the resident memory of this process rose at most during `call`.

    None where the system is not Linux, or does not let a process reset its own peak.
    """
    try:
        CLEAR.write_text("5")  # the peak becomes what is resident now
        before = _resident("VmHWM")
    except OSError:
        call()
        return None
    call()
    return _resident("VmHWM") - before


def peak_so_far() -> int | None:
    """The most bytes that were resident since the process began; None on Windows."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:
        return None
    from sys import platform

    most = getrusage(RUSAGE_SELF).ru_maxrss
    return most if platform == "darwin" else most * 1024


def _resident(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
