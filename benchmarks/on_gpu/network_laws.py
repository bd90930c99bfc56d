"""Laws of whole networks and of sizes: graphs, several devices, arrays past 2**31."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

import gossamer
from gossamer import SparseTensor
from gossamer.coords import Coords
from gossamer.geometry import Geometry
from gossamer.ops import plans
from gossamer.ops.conv import conv, conv_weight_grad
from on_gpu.clock import Clock, synchronisations
from on_gpu.judge import right, same_bits
from on_gpu.networks import NETWORKS, Case
from on_gpu.precisions import FP16, FP32
from on_gpu.tasks import MissingError, Setting, Task

CLOSE = 1e-4  # relative: plans differ with the rows, and a network amplifies
LAST = 2000  # rows at the end of a large array that are checked
LARGE = {
    "rows x channels": (208, 256),
    "taps x rows": (432, 16),
}
"""Edge and channels of full cubes in which a product of two numbers passes 2**31."""
GIGABYTES = 95  # that the larger one takes


def tasks(setting: Setting) -> list[Task]:
    """Captured networks, a second device, and arrays whose offsets need 64 bits."""
    kinds = NETWORKS[-1:] if setting.tiny else NETWORKS
    graphs = [Task(f"captured {kind}", partial(_captured, setting, kind)) for kind in kinds]
    if setting.size == "small":
        return graphs[:0]
    # One task: side by side, both would not fit.
    large = Task("arrays past 2**31", partial(_large, setting))
    return [*graphs, Task("several devices", partial(_devices, setting)), large]


def _captured(setting: Setting, kind: str, clock: Clock) -> dict:
    """A replay gives what the network gives, for other inputs too, and says when rows run out."""
    with setting.on_kernels(), torch.no_grad():
        case = Case(kind, setting, FP32)
        module = gossamer.fuse(case.module())
        x = case.input(torch.float32)
        replayed = gossamer.capture(module, x)
        errors = {}
        for share in (1.0, 0.6):
            few = _first(x, int(len(x) * share))
            errors[f"{share}"] = _difference(_values(replayed(few)), _values(module(few)))
            right(errors[f"{share}"] < CLOSE, f"a replay on {share} of the sites like eager")
        again = same_bits(lambda: _values(replayed(x)), "a replay")
        right(bool(again.isfinite().all()), "numbers")
        tight = gossamer.capture(module, few, capacity=len(few))
        try:
            tight(x)
        except gossamer.CapacityError:
            return {"difference": errors}
    raise AssertionError("wanted: an error where there are more sites than rows")


def _first(x: SparseTensor, count: int) -> SparseTensor:
    coords = x.coords[:count].clone()
    return SparseTensor(x.features[:count].clone(), coords, x.spatial_shape, 1)


def _values(y: Tensor | SparseTensor) -> Tensor:
    return y if isinstance(y, Tensor) else y.features


def _difference(a: Tensor, b: Tensor) -> float:
    right(a.shape == b.shape, "one shape")
    return float((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30))


def _devices(setting: Setting, clock: Clock) -> dict:
    """Tensors on another device than the current one are computed there, with the same bits."""
    count = torch.cuda.device_count()
    if count < 2:
        raise MissingError(f"{count} GPU is here; this law needs two")
    case = Case("minkunet", setting, FP32)
    x, module = case.input(torch.float32), case.module()
    with torch.no_grad():
        here = module(x).features
        there = module.to("cuda:1")(x.to("cuda:1")).features
    right(there.device.index == 1 and torch.cuda.current_device() == 0, "the device of the tensors")
    right(torch.equal(here.cpu(), there.cpu()), "the same bits on both")
    return {"devices": count}


def _large(setting: Setting, clock: Clock) -> dict:
    """Full cubes, convolved in half precision; their last rows are held against small products."""
    if setting.tiny:
        return _cube(setting, 4, 8)
    found = {}
    for name, (edge, channels) in LARGE.items():
        torch.cuda.empty_cache()
        if torch.cuda.mem_get_info(setting.device)[0] < GIGABYTES * 1e9:
            raise MissingError(f"this law needs {GIGABYTES} GB of memory")
        found[name] = _cube(setting, edge, channels)
    return found


def _cube(setting: Setting, edge: int, channels: int) -> dict:
    device = setting.device
    with setting.on_kernels(), torch.no_grad():
        number = torch.arange(edge**3, device=device)
        axes = [number // edge**2, number // edge % edge, number % edge]
        coords = torch.stack([torch.zeros_like(number), *axes], 1).int()
        del number, axes
        sites, _ = Coords.of(coords, (edge,) * 3, 1)
        rulebook = sites.rulebook(Geometry.of("submanifold", 3, 3))
        dice = torch.Generator(device).manual_seed(0)
        x = torch.randn(len(sites), channels, device=device, dtype=FP16.dtype, generator=dice)
        weight = torch.randn(27, channels, channels, device=device, generator=dice) * 0.05
        weight = weight.to(x.dtype)
        waits = []
        for flow in ("planes",) if setting.tiny else ("sorted", "planes"):
            with plans.use(lambda _demand, choice, f=flow: replace(choice, dataflow=f, limit=0)):
                waits.append(_check_large(sites, rulebook, (x, weight), flow))
    return {"rows": len(sites), "channels": channels, "synchronisations": waits}


def _check_large(sites: Coords, rulebook, factors: tuple[Tensor, Tensor], flow: str) -> int | None:
    x, weight = factors
    lists = rulebook.lists(flow, True)
    y = conv(x, weight, lists, [], len(x), 1)
    sources = rulebook.layout.sources[:, -LAST:]
    wanted = x.new_zeros(sources.shape[1], weight.shape[2], dtype=torch.float64)
    for source, matrix in zip(sources, weight.double(), strict=True):
        here = source >= 0
        wanted[here] += x[source[here].long()].double() @ matrix
    right(_difference(y[-LAST:], wanted) < 2e-3, f"the last rows, {flow}")
    waits = synchronisations(lambda: conv(x, weight, lists, [], len(x), 1), x.device)
    last = torch.zeros_like(y)
    last[-LAST:] = y[-LAST:]
    grad = conv_weight_grad(x, last, lists, [], 1)
    centre = x[-LAST:].double().mT @ y[-LAST:].double()
    right(_difference(grad[13], centre) < 2e-3, f"the gradient of the last rows, {flow}")
    return waits
