"""What the shape of a weight says: how much it looks like a sparse one, and like a dense one.

spconv's [*k, C_in, C_out] or [C_out, *k, C_in] and torch's dense [C_out, C_in, *k] have the same
number of axes, and so have native weights [K, C_in, C_out] and torch.nn.Conv1d's. Kernels are small
and mostly cubes, channels are many: that tells all but a few shapes apart. The numbers here say
no more than which of two readings is the likelier one; 0 is a reading that nobody would believe.
"""

from collections.abc import Sequence

from gossamer.convert.options import Options, fits

WIDEST = 11  # taps an axis that a published kernel has had


def kernel(size: Sequence[int]) -> int:
    """How much some axes look like those of a kernel: 2 for a cube, 1 for a small box."""
    if not size or not 1 <= min(size) <= max(size) <= WIDEST:
        return 0
    return 2 if min(size) == max(size) else 1


def dense(shape: Sequence[int]) -> int:
    """How much a shape looks like torch's [C_out, C_in, *k]."""
    size = shape[2:]
    return min(kernel(size), 2 if len(size) > 1 or size[0] in (1, 3, 5, 7) else 1)


def grid(shape: Sequence[int], layout: str) -> int:
    """How much a shape looks like spconv's in one of its layouts."""
    return kernel(shape[1:-1] if layout == "KRSC" else shape[:-2])


def listed(shape: Sequence[int], key: str, options: Options) -> int:
    """How much a shape looks like [K, C_in, C_out]."""
    taps = shape[0]
    if any(fits(key, (pattern,)) for pattern, _ in options.kernels):
        return 4
    if taps in (edge**options.ndim for edge in (1, 2, 3)):
        return 3
    if taps in (edge**options.ndim for edge in (4, 5, 6, 7)):
        return 2
    return 1 if 0 < taps <= WIDEST**2 else 0


def out_channels(shape: Sequence[int], layout: str) -> int:
    """C_out of a weight, read in some layout."""
    return shape[{"KRSC": 0, "RSKC": -2, "dense": 0, "linear": 0}.get(layout, -1)]
