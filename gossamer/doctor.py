"""What this machine offers: versions, extras, processor, GPUs, and the compiled kernels on disk.

Nothing here prints; `gossamer doctor` shows these facts, and a bug report wants them.
"""

import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy
import torch

from gossamer.ops.conv.emitter import Machine
from gossamer.version import __version__

COMPILED = ("*.nbi", "*.nbc")


@dataclass(frozen=True)
class Extra:
    """A package that one of gossamer's extras brings; `version` is None where it is missing."""

    package: str
    extra: str
    version: str | None


@dataclass(frozen=True)
class Processor:
    """The CPU as the kernels see it."""

    model: str
    llvm_name: str
    vector_bits: int
    cores: int
    threads: int


@dataclass(frozen=True)
class KernelCache:
    """The folder of the compiled Numba kernels, how many files it holds and their bytes."""

    folder: Path
    files: int
    size: int


def versions() -> dict[str, str]:
    """The version of everything that every part of gossamer stands on."""
    return {
        "gossamer": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "triton": _version("triton") or "not installed; the GPU backend needs it",
    }


def extras() -> list[Extra]:
    """Every optional package, as the installed gossamer's own metadata lists them."""
    found = {}
    for line in _requirements():
        wanted = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", line)
        if wanted and wanted[1] != "gossamer" and wanted[2] != "dev":
            found[wanted[1]] = Extra(wanted[1], wanted[2], _version(wanted[1]))
    return list(found.values())


def processor() -> Processor:
    """The CPU this process runs on, and the threads it may use."""
    allowed = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return Processor(
        model=_cpu_model(),
        llvm_name=llvm.get_host_cpu_name(),
        vector_bits=8 * Machine.host().vector_bytes,
        cores=len(allowed),
        threads=torch.get_num_threads(),
    )


def gpus() -> list[str]:
    """One line a GPU that this build of torch can use."""
    lines = []
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        kind = f"sm_{gpu.major}{gpu.minor}"
        if torch.version.hip:
            kind = getattr(gpu, "gcnArchName", "ROCm")
        lines.append(f"{index}: {gpu.name}, {kind}, {gpu.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        lines.append("MPS: plain PyTorch; gossamer is not tested there")
    return lines


def kernel_cache() -> KernelCache:
    """Where Numba keeps this installation's machine code, and how much of it there is."""
    folder = _cache_folder()
    files = [path for pattern in COMPILED for path in folder.rglob(pattern)]
    return KernelCache(folder, len(files), sum(path.stat().st_size for path in files))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[str]:
    try:
        return metadata.requires("gossamer") or []
    except metadata.PackageNotFoundError:
        return []


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    named = re.search(r"model name\s*: (.*)", text)
    return named[1] if named else platform.processor() or platform.machine()


def _cache_folder() -> Path:
    if numba.config.CACHE_DIR:
        return Path(numba.config.CACHE_DIR)
    package = Path(__file__).parent
    if os.access(package, os.W_OK):
        return package
    # A package that cannot be written to sends Numba to the user's own cache.
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "numba"
