"""How a Triton kernel is started: on the device of its tensors, and nothing looked up twice.

Triton's own launcher binds, specialises and hashes every argument on every call. Here a call whose
kernel, constants, types and alignments were met before goes straight to the compiled kernel.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime import JITFunction
from triton.runtime import driver as _driver

OLDEST, NEWEST_READ = (3, 4), (3, 7)
"""The oldest Triton that pipelines a loop over gathered rows, and the newest whose compiled kernels
are known to be started as `_start` does it."""
OLDEST_CAPABILITY = (8, 0)
MOST_PROGRAMS = 65535
SMALL = 2**31  # bytes
ALIGNED = 16  # bytes; what the compiler needs to load four words at a time

driver: Any = _driver
_compiled: dict[tuple, Any] = {}


@cache
def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU."""
    return bool(_knobs().interpret)


@cache
def unusable(device: str, index: int | None = None) -> str:
    """Why no kernel can run on a type of device, "" where one can: what a backend refuses with.

    Args:
        device: "cuda" or "cpu".
        index: which GPU; None for the current one.
    """
    if triton_version() < OLDEST:
        return f"needs Triton 3.4 or newer, this is {triton.__version__}"
    if interpreted():
        return ""
    if device != "cuda":
        return f"runs on cuda, not {device}, unless TRITON_INTERPRET=1 is set before the start"
    if not torch.version.hip and torch.cuda.get_device_capability(index) < OLDEST_CAPABILITY:
        major, minor = torch.cuda.get_device_capability(index)
        return f"needs a GPU from sm_80 on, this is sm_{major}{minor}"
    return ""


def triton_version() -> tuple[int, ...]:
    """Of Triton, the first two numbers."""
    return tuple(map(int, re.findall(r"\d+", triton.__version__)[:2]))


@cache
def _knobs() -> Any:
    # Older versions, which are refused, have none.
    from triton import knobs

    return knobs.runtime


def launch(
    kernel: Any,
    grid: Sequence[int],
    arguments: Sequence[Tensor | int | float],
    *,
    warps: int = 4,
    stages: int = 2,
    **constants: Any,
) -> None:
    """Start `kernel` on the device of its tensors; nothing happens where the grid is empty.

    Args:
        kernel: a function decorated with triton.jit, its constexpr parameters last.
        grid: up to three ints.
        arguments: for the parameters that are no constexpr, in order.
        warps, stages: num_warps and num_stages.
        constants: the constexpr parameters by name.

    Raises:
        ValueError: the tensors are not all on one GPU.
    """
    if 0 in grid:
        return
    if max(grid[1:], default=0) > MOST_PROGRAMS:
        name = getattr(kernel, "__name__", "a kernel")
        raise ValueError(
            f"{name} would need a grid of {tuple(grid)} programs; a GPU takes {MOST_PROGRAMS} in "
            "the second and third; use fewer taps, groups or samples"
        )
    options = {"num_warps": warps, "num_stages": stages, **constants}
    if not isinstance(kernel, JITFunction):
        kernel[tuple(grid)](*arguments, **options)
        return
    device, values, kinds = _read(kernel, arguments)
    given = options.values()
    # Names and types too: two places may give constants in another order, and 1 equals True.
    key = (id(kernel), device, len(kinds), *kinds, *options, *given, *map(type, given))
    if driver.active.get_current_device() == device:
        _start(kernel, grid, arguments, options, (device, values, key))
        return
    with torch.cuda.device(device):
        _start(kernel, grid, arguments, options, (device, values, key))


def _read(kernel: Any, arguments: Sequence[Any]) -> tuple[int, list, list]:
    """The device, the arguments with addresses for tensors, and what a compiled kernel needs alike.

    Every int that is specialised on counts by what Triton makes of it: whether it is 1, and whether
    16 divides it.
    """
    device, low, values, kinds = None, 0, [], []
    for position, argument in enumerate(arguments):
        if isinstance(argument, Tensor):
            index = argument.get_device()
            if index != device:
                if device is not None or index < 0:
                    raise _scattered(arguments)
                device = index
            address = argument.data_ptr()
            low |= address
            values.append(address)
            kinds.append(argument.dtype)
            if torch.version.hip:  # whose offsets have 32 bits where they suffice
                kinds.append(argument.untyped_storage().size() < SMALL)
        else:
            values.append(argument)
            kinds.append(_kind(argument, kernel.params[position].do_not_specialize))
    if device is None:
        raise _scattered(arguments)
    if low % ALIGNED:
        tensors = [isinstance(argument, Tensor) for argument in arguments]
        kinds += [t and v % ALIGNED == 0 for t, v in zip(tensors, values, strict=True)]
    return device, values, kinds


def _kind(number: Any, whatever_value: bool) -> Any:
    if type(number) is not int:
        return type(number)
    width = 32 if -(2**31) <= number < 2**31 else 64 if number < 2**63 else -64
    return width if whatever_value else (width, number == 1, number % ALIGNED == 0)


def _scattered(arguments: Sequence[Any]) -> ValueError:
    places = dict.fromkeys(str(a.device) for a in arguments if isinstance(a, Tensor))
    return ValueError(
        f"tensors are on {', '.join(places) or 'no device'}; wanted all on one GPU; use .to()"
    )


def _start(
    kernel: Any, grid: Sequence[int], arguments: Sequence[Any], options: dict, call: tuple
) -> None:
    device, values, key = call
    known = _compiled.get(key)
    hook = _knobs().launch_enter_hook
    # A profiler that listens wants to be told more than is passed on here.
    if known is None or (hook is not None and getattr(hook, "calls", True)):
        made = kernel[tuple(grid)](*arguments, **options)
        _compiled[key] = _handle(kernel, made, len(arguments))
        return
    run, function, metadata, constants = known
    stream = driver.active.get_current_stream(device)
    size = (*grid, 1, 1)
    run(*size[:3], stream, function, metadata, None, None, None, *values, *constants)


def _handle(kernel: Any, made: Any, arguments: int) -> tuple | None:
    """What starts a compiled kernel, None where this Triton might do it in another way."""
    if made is None or not OLDEST <= triton_version() <= NEWEST_READ:
        return None
    # Constants are part of the code; their places in the call are skipped.
    skipped = (None,) * (len(kernel.params) - arguments)
    return made.run, made.function, made.packed_metadata, skipped
