"""`gossamer explain`: what a rulebook is, on a picture or a scan, and how a GPU would use it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from rich.console import Console

from gossamer import io
from gossamer.checks import one_of
from gossamer.explain.example import KINDS, WorkedExample, worked_example
from gossamer.explain.page import write_page
from gossamer.explain.scan import figures_of
from gossamer.explain.scan_text import show_scan
from gossamer.explain.terminal import say
from gossamer.explain.text import show_examples
from gossamer.ops.plans import architecture

BOTH = "both"
VOXEL_SIZE, KERNEL_SIZE, STRIDE = "0.1", "3", "2"
DTYPES = ("float16", "bfloat16", "float32")
TAPS = 27  # of the kernels that a plan is shown for
Number = TypeVar("Number", int, float)


Scan = Annotated[
    Path | None,
    typer.Argument(
        metavar="SCAN", help="A scan whose rulebooks to measure. Default: the 5 x 5 picture."
    ),
]
Kind = Annotated[
    str, typer.Option(help="Of the picture's convolution: regular, submanifold or both.")
]
Page = Annotated[
    Path | None, typer.Option(help="Write the picture's convolution as an HTML page with pictures.")
]
VoxelSize = Annotated[
    str | None,
    typer.Option(help=f"For a scan: metres, one number or x,y,z. Default: {VOXEL_SIZE}"),
]
KernelSize = Annotated[
    str | None,
    typer.Option(help=f"For a scan: voxels, one number or x,y,z. Default: {KERNEL_SIZE}"),
]
Stride = Annotated[
    str | None, typer.Option(help=f"For a scan: voxels, one number or x,y,z. Default: {STRIDE}")
]
Plan = Annotated[
    bool, typer.Option("--plan", help="How a GPU computes layers: dataflow, tile, precision.")
]
Arch = Annotated[
    str | None, typer.Option(help="For a plan: sm_90, gfx942 ... Default: this machine's.")
]
Dtype = Annotated[
    str | None, typer.Option(help=f"For a plan: {', '.join(DTYPES)}. Default: {DTYPES[0]}")
]
Channels = Annotated[
    str | None,
    typer.Option(help="For a plan: 64 or 64,96,... Default: those of the built-in networks."),
]


def command(
    scan: Scan = None,
    kind: Kind = BOTH,
    page: Page = None,
    voxel_size: VoxelSize = None,
    kernel_size: KernelSize = None,
    stride: Stride = None,
    plan: Plan = False,
    arch: Arch = None,
    dtype: Dtype = None,
    channels: Channels = None,
) -> None:
    """Show a sparse convolution step by step, or a scan's rulebooks in figures.

    Without a scan: two sites on a 5 x 5 picture, the hash tables, the rulebook
    row by row, every atomic operation with its numbers, and the result beside
    the dense convolution's; [cyan]--page FILE.html[/cyan] writes it as pictures.

    With a scan: its voxels, and for a submanifold and a strided kernel the
    pairs, those of every tap, the share of the dense work and the memory.

    With [cyan]--plan[/cyan]: which order of rows, tile and precision a GPU would take for each
    size of layer, and why.
    """
    about = {"arch": arch, "dtype": dtype, "channels": channels}
    sizes = {"voxel-size": voxel_size, "kernel-size": kernel_size, "stride": stride}
    if plan:
        if any((scan, page, kind != BOTH, *sizes.values())):
            raise ValueError("a plan takes arch, dtype and channels; leave the rest out")
        _plan(about)
        return
    for name, value in about.items():
        if value is not None:
            raise ValueError(f"{name} is {value}, but belongs to a plan; add --plan")
    if scan is not None:
        if page is not None or kind != BOTH:
            raise ValueError("page and kind belong to the 5 x 5 picture; leave them or SCAN out")
        _figures(scan, sizes)
        return
    for name, value in sizes.items():
        if value is not None:
            raise ValueError(f"{name} is {value}, but there is no scan to use it on; name one")
    one_of("kind", kind, (*KINDS, BOTH))
    _picture([worked_example(each) for each in KINDS if kind in (each, BOTH)], page)


def _picture(examples: list[WorkedExample], page: Path | None) -> None:
    console = Console()
    if page is not None:
        write_page(page, examples)
        console.print(f"{page} is written; open it in a browser", highlight=False)
        return
    show_examples(console, examples)
    say(
        console,
        "As a page with pictures: gossamer explain --page explain.html\n"
        "For a scan of yours, in figures: gossamer explain SCAN",
    )


def _figures(scan: Path, sizes: dict[str, str | None]) -> None:
    figures = figures_of(
        io.read(scan, labels=False),
        _numbers("voxel-size", sizes["voxel-size"] or VOXEL_SIZE, float),
        _numbers("kernel-size", sizes["kernel-size"] or KERNEL_SIZE, int),
        _numbers("stride", sizes["stride"] or STRIDE, int),
    )
    show_scan(Console(), scan.name, figures)


def _plan(about: dict[str, str | None]) -> None:
    from gossamer.explain import plan

    arch = about["arch"] or _own_arch()
    dtype = getattr(torch, one_of("dtype", about["dtype"] or DTYPES[0], DTYPES))
    layers = _layers(about["channels"]) if about["channels"] else plan.built_in_layers()
    plan.show_plans(Console(), arch, dtype, plan.plans_of(arch, dtype, layers))


def _own_arch() -> str:
    """This machine's, or where there is no GPU that of the H100 and H200."""
    if torch.cuda.is_available():
        return architecture(torch.device("cuda"))
    return "sm_90"


def _layers(text: str) -> list[Any]:
    from gossamer.explain.plan import Layer

    widths = _numbers("channels", text, int)
    widths = widths if isinstance(widths, list) else [widths]
    if min(widths) < 1:
        raise ValueError(f"channels is {text!r}; wanted numbers from 1")
    return [Layer(width, width, TAPS) for width in widths]


def _numbers(name: str, text: str, number: Callable[[str], Number]) -> Number | list[Number]:
    """One number, or a list where there are commas."""
    try:
        values = [number(word) for word in text.split(",")]
    except ValueError:
        what = "whole number" if number is int else "number"
        raise ValueError(
            f"{name} is {text!r}; wanted one {what}, or one an axis with commas between: 1,1,2"
        ) from None
    return values[0] if len(values) == 1 else values
