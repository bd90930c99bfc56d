"""The figures of a scan in a terminal: a table, and for every kernel its pairs per tap as bars."""

from collections.abc import Callable, Iterator
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gossamer.explain.scan import KernelFigures, ScanFigures
from gossamer.explain.terminal import bar, heading, say, show, table, title
from gossamer.explain.words import place, size

COUNT, BAR = 10, 8
WIDE_BAR = 34
FIT_IN_COLUMNS = 3
COLOR = "cyan"


def show_scan(console: Console, name: str, figures: ScanFigures) -> None:
    """Print what a scan is as voxels, and the rulebook of each kernel on them."""
    title(console, f"The rulebooks of {name}", _voxels(figures))
    _kernels(console, figures)
    for kernel in figures.kernels:
        _taps(console, kernel)


def _voxels(figures: ScanFigures) -> str:
    left_out = figures.left_out and f" ({figures.left_out:,} without a finite position left out)"
    scans = f" in {figures.scans} scans" if figures.scans > 1 else ""
    return (
        f"{figures.points:,} points{left_out or ''} in {figures.voxels:,} voxels of "
        f"{size(figures.voxel_size)} m{scans}: {figures.points / figures.voxels:.1f} points a "
        f"voxel. The box around them has {size([f'{n:,}' for n in figures.grid])} cells, of which "
        f"{percent(figures.voxels / figures.cells)} are occupied."
    )


def _kernels(console: Console, figures: ScanFigures) -> None:
    heads = [kernel_name(kernel) for kernel in figures.kernels]
    shown = table(console, "", *heads, right=heads)
    for label, value in ROWS:
        shown.add_row(label, *(value(kernel) for kernel in figures.kernels))
    heading(console, "The rulebooks")
    show(console, shown)
    if len(figures.kernels) == 1:
        say(console, "An even kernel has no centre, so there is no submanifold one of this size.")


ROWS: tuple[tuple[str, Callable[[KernelFigures], str]], ...] = (
    ("input voxels", lambda k: f"{k.inputs:,}"),
    ("output voxels", lambda k: f"{k.outputs:,}"),
    ("pairs: atomic operations", lambda k: f"{k.pairs:,}"),
    ("pairs an output voxel", lambda k: f"{k.pairs_per_output:.2f} of {len(k.geometry.taps)} taps"),
    ("in a dense convolution", lambda k: f"{k.dense_operations:,}"),
    ("share of the dense work", lambda k: percent(k.pairs / k.dense_operations)),
    ("memory", lambda k: f"{k.nbytes / 1e6:,.2f} MB"),
    ("  a pair", lambda k: f"{k.nbytes / max(1, k.pairs):.1f} bytes"),
    ("  with gradients", lambda k: f"{k.nbytes_training / 1e6:,.2f} MB"),
)


def kernel_name(kernel: KernelFigures) -> str:
    """The kernel in a few words: submanifold 3 x 3 x 3, or 3 x 3 x 3, stride 2."""
    geometry = kernel.geometry
    extent = size([1 + max(axis) - min(axis) for axis in zip(*geometry.taps, strict=True)])
    if geometry.kind == "submanifold":
        return f"submanifold {extent}"
    stride = (
        size(geometry.stride, "x") if len(set(geometry.stride)) > 1 else str(geometry.stride[0])
    )
    return f"{extent}, stride {stride}"


def percent(part: float) -> str:
    """A share with two digits that say something: 12 %, 0.0031 %."""
    return f"{100 * part:.2g} %" if part < 0.995 else f"{100 * part:.0f} %"


def _taps(console: Console, kernel: KernelFigures) -> None:
    heading(console, f"Pairs per tap: {kernel_name(kernel)}")
    columns = len({tap[-1] for tap in kernel.geometry.taps})
    show(console, (_each_tap if columns <= FIT_IN_COLUMNS else _by_distance)(console, kernel))


def _each_tap(console: Console, kernel: KernelFigures) -> Table:
    """A line for each (i, j), and in it a bar for every place along the last axis."""
    taps = list(zip(kernel.geometry.taps, kernel.pairs_per_tap, strict=True))
    largest = max(1, *kernel.pairs_per_tap)
    depth = len({tap[-1] for tap, _ in taps})
    heads = [f"{f'k = {tap[-1]}':>{COUNT}}" for tap, _ in taps[:depth]]
    shown = table(console, "(i,j,k)", *heads)
    for position, line in groupby(taps, lambda item: item[0][:-1]):
        cells = (
            Text(f"{pairs:>{COUNT},} ").append(
                f"{bar(console, pairs / largest, BAR):<{BAR}}", COLOR
            )
            for _, pairs in line
        )
        shown.add_row(place((*position, "k"), "()"), *cells)  # type: ignore[arg-type]
    return shown


def _by_distance(console: Console, kernel: KernelFigures) -> Table:
    """A line for all taps equally far from the kernel's centre."""
    heads = ("voxels from centre", "taps", "pairs a tap")
    shown = table(console, *heads, "", right=heads)
    lines = list(_rings(kernel))
    largest = max(1.0, *(pairs for *_, pairs in lines))
    for distance, count, pairs in lines:
        drawn = Text(bar(console, pairs / largest, WIDE_BAR), COLOR)
        shown.add_row(f"{distance:.2f}", str(count), f"{pairs:,.0f}", drawn)
    return shown


def _rings(kernel: KernelFigures) -> Iterator[tuple[float, int, float]]:
    """Distance, number of taps, and the pairs of one of them on average."""
    centre = [(max(axis) + min(axis)) / 2 for axis in zip(*kernel.geometry.taps, strict=True)]
    rings: dict[float, list[int]] = {}
    for tap, pairs in zip(kernel.geometry.taps, kernel.pairs_per_tap, strict=True):
        squared = sum((a - b) ** 2 for a, b in zip(tap, centre, strict=True))
        rings.setdefault(squared, []).append(pairs)
    for squared, pairs in sorted(rings.items()):
        yield squared**0.5, len(pairs), sum(pairs) / len(pairs)
