"""Which passes over the rows a module makes, as the ops that it calls."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gossamer import nn as gnn

# What costs a pass over the rows, of a SparseTensor's and of torch's own.
HEAVY = "conv conv_fused affine normalise relu leaky_relu add native_batch_norm addmm mm".split()


class _Recorder(TorchDispatchMode):
    def __init__(self, rows: int):
        super().__init__()
        self.rows, self.names = rows, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        first = y[0] if isinstance(y, tuple) else y
        name = func.__name__.split(".")[0]
        if isinstance(first, torch.Tensor) and first.ndim == 2 and name in HEAVY:
            self.names.append(name)
        return y


def passes(module: nn.Module, x, gradients: bool = False) -> list[str]:
    """The heavy ops that `module` calls on `x`, in order."""
    with torch.set_grad_enabled(gradients), _Recorder(len(x)) as recorder:
        module(x)
    return recorder.names


def trained(model: nn.Module) -> nn.Module:
    """The model with running statistics and affine parameters that are not those of a new one."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | gnn.SyncBatchNorm):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
            if module.track_running_stats:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model
