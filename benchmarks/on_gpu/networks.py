"""Whole networks, their rulebooks included: inference, eager and captured, and training steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import gossamer
from gossamer import SparseTensor
from gossamer.bench.cases import SECOND_GRID
from gossamer.bench.scenes import Scene
from gossamer.models.minkunet import MinkUNet
from gossamer.models.second import SECONDEncoder
from gossamer.nn.norm import BatchNorm
from on_gpu.centerpoint import CenterPointEncoder
from on_gpu.clock import Clock, peak_memory, profiled, synchronisations
from on_gpu.precisions import FP16, FP32, Precision
from on_gpu.tasks import Setting, Task

NETWORKS = ("minkunet", "second", "centerpoint")
PRECISIONS = (FP16, FP32)
INPUTS, CLASSES = 5, 19
CENTERPOINT_GRID = (41, 1440, 1440)
TINY = (4,), 0  # channels and blocks of a level


@dataclass(frozen=True)
class Case:
    """A network on a scene, the same at every call.

    Args:
        kind: one of NETWORKS.
        setting: where.
        precision: of inference; a training step computes under autocast, or in float32.
    """

    kind: str
    setting: Setting
    precision: Precision

    def scene(self) -> Scene:
        """On the device; a detector sees a window."""
        host = self.setting.host_scenes
        if self.setting.tiny or self.kind == "minkunet":
            return self.setting.scenes["street"]
        detects = self.kind == "second"
        name, grid = ("street", SECOND_GRID) if detects else ("sweeps", CENTERPOINT_GRID)
        return self.setting.moved(host[name].window(grid))

    def module(self) -> nn.Module:
        """In eval mode, its batch norms with the statistics of the scene, in float32."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = self._made().to(self.setting.device)
        norms = [m for m in module.modules() if isinstance(m, BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            module(self.input(torch.float32))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return module.eval()

    def _made(self) -> nn.Module:
        if self.kind == "minkunet":
            return MinkUNet(INPUTS, CLASSES)
        if self.kind == "second":
            return SECONDEncoder(INPUTS)
        return CenterPointEncoder(INPUTS, *(TINY if self.setting.tiny else ()))

    def features(self, dtype: torch.dtype) -> Tensor:
        """[N, INPUTS]."""
        dice = torch.Generator().manual_seed(0)
        drawn = torch.randn(len(self.scene()), INPUTS, generator=dice)
        return drawn.to(self.setting.device, dtype)

    def input(self, dtype: torch.dtype) -> SparseTensor:
        scene = self.scene()
        return SparseTensor(self.features(dtype), scene.coords, scene.spatial_shape, 1)


def tasks(setting: Setting) -> list[Task]:
    """Each network: eager, captured, and a training step."""
    kinds = NETWORKS[-1:] if setting.tiny else NETWORKS
    cases = [Case(kind, setting, p) for p in PRECISIONS for kind in kinds]
    ways = {"eager": _eager, "captured": _captured, "training": _training}
    return [
        Task(f"{case.kind} {case.precision} {way}", partial(_measured, case, run))
        for case in (cases[:1] if setting.tiny else cases)
        for way, run in ways.items()
    ]


def _measured(case: Case, run: Callable, clock: Clock) -> dict:
    with case.setting.on_kernels(), case.precision.chosen():
        return run(case, clock)


def _eager(case: Case, clock: Clock) -> dict:
    module = gossamer.fuse(case.module()).to(case.precision.dtype)
    features, scene = case.features(case.precision.dtype), case.scene()

    @torch.no_grad()
    def run() -> Any:
        return module(SparseTensor(features, scene.coords, scene.spatial_shape, 1))

    return {"voxels": len(scene), **_figures(run, clock)}


def _captured(case: Case, clock: Clock) -> dict:
    module = gossamer.fuse(case.module()).to(case.precision.dtype)
    x = case.input(case.precision.dtype)
    replayed = gossamer.capture(module, x)
    return {"voxels": len(x), **_figures(lambda: replayed(x), clock)}


def _training(case: Case, clock: Clock) -> dict:
    scene = case.scene()
    step = training_step(case, case.module(), partial(_input, scene))
    return {"voxels": len(scene), **_figures(step, clock)}


def _input(scene: Scene, features: Tensor) -> SparseTensor:
    return SparseTensor(features, scene.coords, scene.spatial_shape, 1)


def training_step(case: Case, module: nn.Module, given: Callable[[Tensor], Any]) -> Callable:
    """Loss, gradients and plain descent.

    Args:
        case: what is trained.
        module: of any library.
        given: makes its input of features.
    """
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), 1e-4)
    features = case.features(torch.float32)
    labels = torch.arange(len(features), device=features.device) % CLASSES

    def step() -> Tensor:
        optimizer.zero_grad()
        with _autocast(case):
            y = module(given(features))
            scores = y if isinstance(y, Tensor) else y.features
        loss = _loss(scores.float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


@contextmanager
def _autocast(case: Case) -> Iterator[None]:
    half = case.precision.dtype != torch.float32
    with torch.autocast(case.setting.device.type, dtype=torch.float16, enabled=half):
        yield


def _loss(scores: Tensor, labels: Tensor) -> Tensor:
    if scores.ndim == 2:
        return functional.cross_entropy(scores, labels)
    return scores.square().mean()


def _figures(run: Callable[[], Any], clock: Clock) -> dict:
    figures = clock.latency(run)
    if not figures:
        return {}
    device = clock.device
    return {
        **figures,
        "synchronisations": synchronisations(run, device),
        "peak_bytes": peak_memory(run, device),
        **profiled(run, device),
    }
