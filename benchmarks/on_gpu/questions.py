"""Single questions that decisions hang on."""

from collections.abc import Callable
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from gossamer.bench.cases import KINDS
from gossamer.coords import Coords
from gossamer.ops import plans
from gossamer.ops.conv import conv
from gossamer.ops.launch import launch
from gossamer.ops.plans import store, table
from gossamer.ops.rulebooks import match
from on_gpu.clock import Clock
from on_gpu.layers import Layer
from on_gpu.op_laws import without_bitmaps
from on_gpu.precisions import FP32
from on_gpu.tasks import MissingError, Setting, Task

SORTED = 100_000
POINTERS = 10


@triton.jit(do_not_specialize=["n"])
def _nothing(  # noqa: PLR0913, as many as a convolution takes
    a, b, c, d, e, f, g, h, i, j, n, m, WIDTH: tl.constexpr, FLAG: tl.constexpr
):  # fmt: skip
    """Take arguments and do nothing with them."""
    if n < 0:
        tl.store(a, 0)


def tasks(setting: Setting) -> list[Task]:
    """Launching; products of float32; sorting; two kinds of index."""
    named: dict[str, Callable] = {
        "launching": _launching,
        "products of float32": _products,
        "sorting": _sorting,
        "bitmap or sorted keys": _index,
    }
    return [Task(name, partial(ask, setting)) for name, ask in named.items()]


def _launching(setting: Setting, clock: Clock) -> dict:
    """The launcher of gossamer beside Triton's, on the host: a kernel that does nothing."""
    x = torch.zeros(64, device=setting.device)
    arguments = [x] * POINTERS
    constants = {"WIDTH": 64, "FLAG": True}

    def ours() -> None:
        launch(_nothing, (1,), (*arguments, 5, 16), **constants)

    def theirs() -> None:
        _nothing[(1,)](*arguments, 5, 16, num_warps=4, num_stages=2, **constants)

    if setting.device.type != "cuda":
        raise MissingError("an interpreter has no launcher")
    ways = {"launch": ours, "kernel[grid]": theirs, "torch": lambda: x.add_(0)}
    return {name: clock.a_call(run) for name, run in ways.items()}


def _products(setting: Setting, clock: Clock) -> dict:
    """Time and error of each way to multiply float32, with the tile that the table has for it."""
    layers = [Layer(setting, "street", "submanifold", 4 if setting.tiny else 64, FP32)]
    if not setting.tiny:
        layers.append(Layer(setting, "street", "submanifold", 256, FP32))
    # An interpreter knows one way; and AMD's compiler has no other two.
    all_ways = setting.device.type == "cuda" and not torch.version.hip
    ways = ("ieee", "tf32x3", "tf32") if all_ways else ("ieee",)
    return {str(layer.channels): _ways(layer, ways, clock) for layer in layers}


def _ways(layer: Layer, ways: tuple[str, ...], clock: Clock) -> dict:
    found = {}
    with layer.setting.on_kernels(), torch.no_grad():
        rulebook = layer.sites().rulebook(KINDS[layer.kind])
        x, weight = layer.drawn(rulebook.inputs, layer.channels), layer.weight()
        exact = _product(x.double(), weight.double(), rulebook.layout.sources)
        for way in ways:
            choice = table.choice(layer.demand("conv"), store.scale(rulebook.outputs), way)
            lists = rulebook.lists(choice.dataflow)
            run = partial(conv, x, weight, lists, [], rulebook.outputs, 1)
            with plans.use(lambda _demand, _choice, c=choice: c):
                figures = clock.device_time(run)
                error = float((run().double() - exact).norm() / exact.norm())
            found[way] = {**figures, "relative_error": error, "dataflow": choice.dataflow}
    return found


def _product(x: Tensor, weight: Tensor, sources: Tensor) -> Tensor:
    y = x.new_zeros(sources.shape[1], weight.shape[2])
    for source, matrix in zip(sources, weight, strict=True):
        here = source >= 0
        y[here] += x[source[here].long()] @ matrix
    return y


def _sorting(setting: Setting, clock: Clock) -> dict:
    """What torch takes to sort the keys of a scan."""
    count = 64 if setting.tiny else SORTED
    dice = torch.Generator(setting.device).manual_seed(0)
    given = (0, 1 << 30, (count,))
    found = {}
    for dtype in (torch.int32, torch.int64):
        keys = torch.randint(*given, generator=dice, device=setting.device).to(dtype)
        for stable in (False, True):
            name = f"{count} of {str(dtype).removeprefix('torch.')}" + ", stable" * stable
            found[name] = clock.device_time(lambda k=keys, s=stable: k.sort(stable=s))
    return found


def _index(setting: Setting, clock: Clock) -> dict:
    """The same look-ups in a bitmap and among sorted keys."""
    found = {}
    with setting.on_kernels():
        for name, where in setting.scenes.items():
            sites, _ = Coords.of(where.coords, where.spatial_shape, 1)
            geometry = KINDS["submanifold"]
            box = sites.box.holding(sites.box.image(geometry))
            given = (*box.lists, list(geometry.stride), geometry.flat_offsets, 1, None, None)
            for sorted_keys in (False, True):
                with without_bitmaps(sorted_keys):
                    figures = clock.device_time(partial(match, sites.rows, sites.rows, *given))
                found[f"{name}, {'sorted keys' if sorted_keys else 'bitmap'}"] = figures
    return found
