"""spconv and spconv-triton on the same scenes, layers and networks, by the same clocks.

Both have one API. Layers are called as users call them; a submanifold layer finds its rulebook
under its key from the second call on, and a strided one makes it at every call, since neither
library uses that of a regular layer again.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gossamer.bench.cases import KINDS
from on_gpu import centerpoint
from on_gpu.clock import Clock, Figures, peak_memory, profiled, synchronisations
from on_gpu.layers import Layer
from on_gpu.networks import INPUTS, NETWORKS, Case, training_step
from on_gpu.precisions import FP16, FP32, TF32, Precision
from on_gpu.tasks import MissingError, Setting, Task

PEERS = {"spconv-triton": "spconv_triton", "spconv": "spconv"}
CHANNELS = (64, 128, 256, 32)
AGREED = 2e-2  # of half types, relative to the norm; all that is asked is that both do the same


def tasks(setting: Setting) -> list[Task]:
    """For each peer: layers of half precision, networks, then the rest."""
    return [task for peer in PEERS for task in _tasks(setting, peer)]


def _tasks(setting: Setting, peer: str) -> list[Task]:
    def layers(precision: Precision) -> list[Task]:
        wanted = [Layer(setting, "street", kind, c, precision) for c in CHANNELS for kind in KINDS]
        return [Task(f"{peer}: {each}", partial(_layer, peer, each)) for each in wanted]

    networks = [
        Task(f"{peer}: {kind} fp16 {way}", partial(_network, peer, Case(kind, setting, FP16), way))
        for kind in NETWORKS
        for way in ("eager", "training")
    ]
    facts = Task(f"{peer}: facts", lambda clock: {"version": _found(peer)[1]})
    if setting.tiny:
        return [facts]
    return [facts, *layers(FP16), *networks, *layers(FP32), *layers(TF32)]


def _found(peer: str) -> tuple[ModuleType, str]:
    """Its `pytorch` module, and its version."""
    name = PEERS[peer]
    try:
        module = import_module(f"{name}.pytorch")
    # A wheel for another CUDA fails with whatever its libraries say.
    except Exception as error:
        raise MissingError(f"{name} can't be imported: {type(error).__name__}: {error}") from error
    packages = (name.replace("_", "-"), *(f"spconv-cu{n}" for n in (126, 124, 121, 120, 118)))
    for package in packages:
        try:
            return module, f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return module, "unknown"


def _layer(peer: str, layer: Layer, clock: Clock) -> dict:
    spconv, name = _found(peer)
    where, c = layer.setting.scenes[layer.scene], layer.channels
    # Read at every call by both.
    import_module(f"{PEERS[peer]}.constants").SPCONV_ALLOW_TF32 = layer.precision == TF32
    with layer.precision.chosen():
        geometry = KINDS[layer.kind]
        if layer.kind == "submanifold":
            made = spconv.SubMConv3d(c, c, 3, bias=False, indice_key="key")
        else:
            made = spconv.SparseConv3d(c, c, 3, stride=2, padding=1, bias=False)
        module = made.to(layer.setting.device, layer.dtype)
        with torch.no_grad():
            weight = layer.weight().permute(2, 0, 1).reshape(module.weight.shape)
            module.weight.copy_(weight)
        features = layer.drawn(len(where), c)

        def given(x: Tensor) -> Any:
            return spconv.SparseConvTensor(x, where.coords, list(where.spatial_shape), 1)

        # Its rulebooks are with a layer's result. Those of training hold more.
        known = module(given(features)) if layer.kind == "submanifold" else given(features)
        y = module.eval()(given(features))
        kept = y if layer.kind == "submanifold" else given(features)
        ours = layer.sites().rulebook(geometry).convolve(features, layer.weight())
        error = _agreement(ours.detach(), y.features.detach(), layer.kind == "submanifold")
        inputs = Inputs(features, kept, known, given)
        figures = _layer_figures(module, inputs, len(y.features), clock)
    return {"peer": name, "difference": error, **figures}


@dataclass(frozen=True)
class Inputs:
    """Tensors for a layer.

    Args:
        features: [N, C].
        kept, known: on the scene's sites, with the rulebooks of eval mode and of training, if any.
        given: makes one without rulebooks.
    """

    features: Tensor
    kept: Any
    known: Any
    given: Callable[[Tensor], Any]


def _layer_figures(module: nn.Module, of: Inputs, rows: int, clock: Clock) -> dict[str, Figures]:
    features, leaf = of.features, of.features.clone().requires_grad_()
    kept, known = of.kept.replace_feature(features), of.known.replace_feature(leaf)
    grad = torch.randn(rows, features.shape[1], device=features.device).to(features.dtype)

    @torch.no_grad()
    def forward(x: Callable[[], Any]) -> Tensor:
        return module(x()).features

    def step(x: Callable[[], Any]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(module(x()).features, [leaf, module.weight], grad)

    module.eval()
    found = {
        "forward": clock.device_time(lambda: forward(lambda: kept)),
        "forward_call": clock.a_call(lambda: forward(lambda: kept)),
        "cold_forward": clock.device_time(lambda: forward(lambda: of.given(features))),
    }
    module.train()
    found["step"] = clock.device_time(lambda: step(lambda: known))
    found["cold_step"] = clock.device_time(lambda: step(lambda: of.given(leaf)))
    return found


def _agreement(ours: Tensor, theirs: Tensor, in_order: bool) -> float:
    """How far both are apart; sums over rows where the order of rows may differ."""
    if ours.shape != theirs.shape:
        raise AssertionError(f"wanted: {tuple(ours.shape)}, and came: {tuple(theirs.shape)}")
    a, b = (t.double() if in_order else t.double().square().sum(0) for t in (ours, theirs))
    error = float((a - b).norm() / a.norm())
    if not error < AGREED:
        raise AssertionError(f"wanted: the same numbers, and they differ by {error:.3g}")
    return error


def _network(peer: str, case: Case, way: str, clock: Clock) -> dict:
    spconv, name = _found(peer)
    scene = case.scene()
    own = case.module()
    module = _theirs(peer, spconv, case.kind).to(case.setting.device)
    state, ours = module.state_dict(), own.state_dict()
    module.load_state_dict({name: _laid_out(ours[name], state[name].shape) for name in state})

    def given(x: Tensor) -> Any:
        return spconv.SparseConvTensor(x, scene.coords, list(scene.spatial_shape), 1)

    with case.precision.chosen():
        if way == "training":
            run = training_step(case, module, given)
        else:
            x = case.features(case.precision.dtype)
            half = module.eval().to(case.precision.dtype)
            run = torch.no_grad()(lambda: half(given(x)))
        figures = clock.latency(run)
        if not figures:
            return {}
        device = clock.device
        found = {"synchronisations": synchronisations(run, device)}
        found |= {"peak_bytes": peak_memory(run, device), **profiled(run, device)}
    return {"peer": name, "voxels": len(scene), **figures, **found}


def _theirs(peer: str, spconv: ModuleType, kind: str) -> nn.Module:
    if kind == "centerpoint":
        return centerpoint.in_spconv(spconv, INPUTS)
    # The networks of `gossamer bench cpu` are written for what goes by the name of spconv.
    sys.modules["spconv"] = import_module(PEERS[peer])
    sys.modules["spconv.pytorch"] = spconv
    written = import_module("gossamer.bench.peers.spconv_networks")
    written.WIDTH, written.NETWORK_INPUTS = 1.0, INPUTS
    return written.MinkUNet() if kind == "minkunet" else written.SECONDEncoder()


def _laid_out(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A convolution's weight [K, C_in, C_out] as [C_out, *kernel, C_in]; the rest as it is."""
    return tensor.permute(2, 0, 1).reshape(shape) if len(shape) == 5 else tensor.reshape(shape)
