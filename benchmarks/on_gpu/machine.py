"""What is measured on: the device, the versions, and its two ceilings."""

import platform
from functools import partial
from typing import Any

import torch

from gossamer.doctor import gpus, processor, versions
from gossamer.ops.plans.chips import architecture
from on_gpu.clock import Clock
from on_gpu.precisions import PRECISIONS, Precision
from on_gpu.tasks import Setting, Task

COPIED = 1 << 31  # bytes
SIDE = 8192  # of the matrices


def tasks(setting: Setting) -> list[Task]:
    """Facts; the copy bandwidth; the rate of torch's matrix product in every precision."""
    products = [Task(f"matmul {p}", partial(_matmul, setting, p)) for p in PRECISIONS]
    facts = Task("facts", lambda clock: facts_of(setting))
    return [facts, Task("copy", partial(_copy, setting)), *products]


def facts_of(setting: Setting) -> dict[str, Any]:
    """Names and versions."""
    device = setting.device
    found: dict[str, Any] = {
        "versions": versions(),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "system": platform.platform(),
        "cpu": processor().model,
        "devices": gpus(),
        "architecture": architecture(device),
    }
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        found |= {
            "device": gpu.name,
            "processors": gpu.multi_processor_count,
            "cache_bytes": getattr(gpu, "L2_cache_size", None),
            "memory_bytes": gpu.total_memory,
        }
    scenes = setting.host_scenes.items()
    found["scenes"] = {name: (len(s), list(s.spatial_shape)) for name, s in scenes}
    return found


def _copy(setting: Setting, clock: Clock) -> dict[str, Any]:
    size = 1 << 12 if setting.tiny else COPIED
    a = torch.ones(size, dtype=torch.int8, device=setting.device)
    b = torch.empty_like(a)
    figures = clock.device_time(lambda: b.copy_(a))
    if not figures:
        return {}
    # Every byte is read once and written once.
    return {**figures, "gb_s": 2 * size / figures["ms"] / 1e6}


def _matmul(setting: Setting, precision: Precision, clock: Clock) -> dict[str, Any]:
    side = 16 if setting.tiny else SIDE
    shape = side, side
    # Random: zeros take less power to multiply, and the device runs faster.
    a, b = (torch.randn(shape, device=setting.device).to(precision.dtype) for _ in range(2))
    out = torch.empty_like(a)
    with precision.chosen():
        figures = clock.device_time(lambda: torch.mm(a, b, out=out))
    if not figures:
        return {}
    return {**figures, "tflops": 2 * side**3 / figures["ms"] / 1e9}
