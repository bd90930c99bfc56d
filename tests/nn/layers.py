"""Every layer, ready to be called on a bounded 2-D scene of 4 channels."""

from collections.abc import Callable

from torch import nn

from gossamer import SparseTensor
from gossamer import nn as gnn
from gossamer.geometry import Cross
from gossamer.nn import activation

CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "submanifold": lambda: gnn.SubMConv2d(4, 6, 3),
    "dilated": lambda: gnn.SubMConv2d(4, 6, 3, dilation=2),
    "cross": lambda: gnn.SubMConv2d(4, 6, Cross(3)),
    "grouped": lambda: gnn.SubMConv2d(4, 6, 3, groups=2),
    "depthwise": lambda: gnn.SubMConv2d(4, 4, 3, groups=4),
    "linear": lambda: gnn.Linear(4, 6),
    "one tap": lambda: gnn.SubMConv2d(4, 6, 1, bias=False),
    "regular": lambda: gnn.SparseConv2d(4, 6, 3, padding=1),
    "strided": lambda: gnn.SparseConv2d(4, 6, 3, 2, 1),
    "floored": lambda: gnn.SparseConv2d(4, 6, 2, 2, downsample="minkowski"),
    "transposed": lambda: gnn.SparseConvTranspose2d(4, 6, 2, 2),
    "generative": lambda: gnn.SparseGenerativeConvTranspose2d(4, 6, 3, 2),
    "there and back": lambda: nn.Sequential(
        gnn.SparseConv2d(4, 6, 3, 2, 1), gnn.SparseInverseConv2d(6, 5, 3)
    ),
}
POOLS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{how} pool": lambda how=how: getattr(gnn, f"Sparse{how}Pool2d")(2)
        for how in ("Max", "Avg", "Sum")
    },
    **{
        f"{how} unpool": lambda how=how: nn.Sequential(
            gnn.SparseSumPool2d(3, 2, 1), getattr(gnn, f"Sparse{how}Unpool")()
        )
        for how in ("Max", "Avg", "Sum")
    },
    **{f"global {how}": getattr(gnn, f"SparseGlobal{how}Pool") for how in ("Max", "Avg", "Sum")},
}
NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: gnn.BatchNorm(4),
    "sync batch norm": lambda: gnn.SyncBatchNorm(4),
    "untracked batch norm": lambda: gnn.BatchNorm(4, track_running_stats=False),
    "layer norm": lambda: gnn.LayerNorm(4),
    "group norm": lambda: gnn.GroupNorm(2, 4),
    "instance norm": lambda: gnn.InstanceNorm(4, affine=True),
}
SUMS: dict[str, Callable[[], nn.Module]] = {
    "residual": lambda: gnn.Residual(gnn.SubMConv2d(4, 4, 3)),
    "residual block": lambda: gnn.Residual(
        gnn.SparseSequential(gnn.SubMConv2d(4, 6, 3), gnn.GroupNorm(2, 6)),
        gnn.Linear(4, 6),
        gnn.ReLU(),
    ),
}
ARGUMENTS = {
    "Softmax": (1,),
    "LogSoftmax": (1,),
    "Softmin": (1,),
    "Threshold": (0.1, 20),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    name: lambda name=name: getattr(gnn, name)(*ARGUMENTS.get(name, ()))
    for name in activation.__all__
}
GRIDS: dict[str, Callable[[], nn.Module]] = {"to dense": gnn.ToDense, "to BEV": gnn.ToBEV}
LAYERS = {**CONVOLUTIONS, **POOLS, **NORMS, **SUMS, **ACTIVATIONS, **GRIDS}


def values(y):
    """The numbers of a SparseTensor or a tensor."""
    return y.features if isinstance(y, SparseTensor) else y
