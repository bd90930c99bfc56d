"""The time of a whole call of a network, and which of its convolutions share their maps."""

import copy
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gossamer.compat.torchsparse.nn.modules.conv import Conv3d
from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.compat.torchsparse.tuning.configs import Group, tunable
from gossamer.compat.torchsparse.utils.tensor_cache import TensorCache, clear_global_tensor_cache

# Before the first measurement, so that kernels are compiled and memory is there.
WARM_UPS = 3


class Stopwatch:
    """Times calls of a network.

    Args:
        model: it is kept and, for half precision, converted.
        half: whether to compute in float16, under autocast.
        backward: whether the backward pass counts too.
    """

    def __init__(self, model: nn.Module, half: bool, backward: bool):
        self.model = model.half() if half else model
        self.device = next(model.parameters()).device
        self.half = half
        self.backward = backward

    def __call__(self, sample: Any) -> float:
        """Seconds of one call, with maps and all."""
        # Made anew, so no map is there from the call before.
        sample = moved(sample, self.device, self.half)
        clear_global_tensor_cache()
        start = self._now()
        self.run(sample)
        return self._now() - start

    def run(self, sample: Any) -> None:
        """One call; where gradients are asked for, there and back."""
        with (
            torch.set_grad_enabled(self.backward),
            torch.autocast(self.device.type, torch.float16, enabled=self.half),
        ):
            outputs = self.model(sample)
        if not self.backward:
            return
        results = [t for t in tensors_of(outputs) if t.requires_grad]
        if not results:
            raise ValueError(
                "tune_with_bwd is True, and nothing that the model returns has a gradient; wanted "
                "tensors, sparse tensors, or lists, tuples or dicts of them"
            )
        torch.autograd.backward(results, [torch.randn_like(t) * 1e-3 for t in results])
        self.model.zero_grad()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def groups_of(watch: Stopwatch, sample: Any) -> dict[str, Group]:
    """The group of each convolution with several taps, by its name; and a few calls to warm up.

    Raises:
        ValueError: there is none.
    """
    groups: dict[str, Group] = {}
    names = tunable(watch.model)
    hooks = [
        module.register_forward_hook(partial(_note, groups, name))
        for name, module in watch.model.named_modules()
        if name in names
    ]
    for _ in range(WARM_UPS):
        watch(sample)
    for hook in hooks:
        hook.remove()
    if not groups:
        raise ValueError(
            "the model called no torchsparse.nn.Conv3d with several taps; there is nothing to tune"
        )
    return groups


def _note(groups: dict[str, Group], name: str, module: Conv3d, inputs: Any, output: Any) -> None:
    # A transposed layer reads the maps of the layer that led down, so it belongs there.
    finer = output if module.transposed else inputs[0]
    groups[name] = (finer.stride, module.kernel_size, module.stride, module.dilation)


def moved(sample: Any, device: torch.device, half: bool) -> Any:
    """The same on a device, with sparse tensors that share no map with others.

    Args:
        sample: a sparse tensor, a tensor, or dicts, lists and tuples of them; all else stays.
        device: where to.
        half: whether features become float16.
    """
    if isinstance(sample, dict):
        return {name: moved(value, device, half) for name, value in sample.items()}
    if isinstance(sample, (list, tuple)):
        return type(sample)([moved(value, device, half) for value in sample])
    if isinstance(sample, SparseTensor):
        other = copy.copy(sample)
        other._caches = TensorCache()
        other.feats = sample.feats.to(device, torch.float16 if half else sample.feats.dtype)
        other.coords = sample.coords.to(device)
        return other
    return sample.to(device) if isinstance(sample, Tensor) else sample


def tensors_of(outputs: Any) -> list[Tensor]:
    """Every tensor in what a model returned, those of features for sparse ones."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, SparseTensor):
        return [outputs.feats]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        return [tensor for output in outputs for tensor in tensors_of(output)]
    return []
