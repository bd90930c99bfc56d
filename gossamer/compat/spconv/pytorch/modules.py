"""Containers, and the modules that act on a SparseConvTensor's features."""

import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gossamer.compat.spconv.pytorch.core import SparseConvTensor


def is_spconv_module(module: nn.Module) -> bool:
    """Whether SparseSequential hands `module` the SparseConvTensor itself."""
    return isinstance(module, (SparseModule, SparseBatchNorm, SparseReLU))


def is_sparse_conv(module: nn.Module) -> bool:
    """Whether `module` is a sparse convolution."""
    from gossamer.compat.spconv.pytorch.conv import SparseConvolution

    return isinstance(module, SparseConvolution)


class SparseModule(nn.Module):
    """What takes a SparseConvTensor inside a SparseSequential.

    Args:
        name: under which its times are recorded.
    """

    def __init__(self, name: str | None = None):
        super().__init__()
        self.name = name
        self._sparse_unique_name = ""

    def _joined(self, input: SparseConvTensor, links: Sequence[nn.Module]) -> tuple[Any, int]:
        """What this makes of `input`, with what it can take of `links` behind it.

        Returns:
            The result, and how many modules it is the result of, this one included.
        """
        return self(input), 1


class SparseSequential(SparseModule):
    """Modules one after the other; those that are not sparse act on the features.

    Modules come as arguments, as one OrderedDict, as keywords, or as arguments and keywords.

    Raises:
        ValueError: a name comes twice.
    """

    def __init__(self, *args, **kwargs):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            named = list(args[0].items())
        else:
            named = [(str(place), module) for place, module in enumerate(args)]
        for name, module in (*named, *kwargs.items()):
            if name in self._modules:
                raise ValueError(f"name exists: two modules are called {name!r}; rename one")
            self.add_module(name, module)

    def __getitem__(self, idx: int) -> nn.Module:
        if not -len(self) <= idx < len(self):
            raise IndexError(f"index {idx} is out of range; there are {len(self)} modules")
        return list(self._modules.values())[idx]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self._modules)

    def add(self, module: nn.Module, name: str | None = None) -> None:
        """Append `module`, called after its place unless it is given a name.

        Raises:
            KeyError: the name is taken.
        """
        name = str(len(self._modules)) if name is None else name
        if name in self._modules:
            raise KeyError(f"name exists: {name!r}; give another one")
        self.add_module(name, module)

    def forward(self, input):
        """What the chain makes of `input`, a SparseConvTensor, a tensor or a list of them."""
        links = [module for module in self._modules.values() if module is not None]
        place = 0
        while place < len(links):
            input, taken = _step(links[place:], input)
            place += taken
        return input


def _step(links: list[nn.Module], input):
    """What the first of `links` makes of `input`, and how many of them that was."""
    first = links[0]
    if not isinstance(input, SparseConvTensor):
        return first(input), 1
    if isinstance(first, SparseModule):
        return first._joined(input, links[1:])
    if is_spconv_module(first):
        return first(input), 1
    if input._count() == 0:
        return input, 1
    return input._mapped(links)


def assign_name_for_sparse_modules(module: nn.Module) -> None:
    """Tell every sparse module inside `module` its path, under which it is timed."""
    for name, inner in module.named_modules():
        if isinstance(inner, SparseModule):
            inner._sparse_unique_name = name


def _on_features(forward, input):
    if not isinstance(input, SparseConvTensor):
        return forward(input)
    return input.replace_feature(forward(input.features))


class SparseBatchNorm(nn.BatchNorm1d):
    """nn.BatchNorm1d that also takes a SparseConvTensor."""

    def forward(self, input):
        return _on_features(super().forward, input)


class SparseSyncBatchNorm(nn.SyncBatchNorm):
    """nn.SyncBatchNorm that also takes a SparseConvTensor."""

    def forward(self, input):
        return _on_features(super().forward, input)


class SparseReLU(nn.ReLU):
    """nn.ReLU that also takes a SparseConvTensor."""

    def forward(self, input):
        return _on_features(super().forward, input)


class SparseIdentity(nn.Identity):
    """nn.Identity that also takes a SparseConvTensor."""

    def forward(self, input):
        return _on_features(super().forward, input)


class PrintTensorMeta(nn.Module):
    """Prints the smallest, largest and mean feature that passes."""

    def forward(self, x: "SparseConvTensor | Tensor"):
        values = x.features if isinstance(x, SparseConvTensor) else x
        print(values.min(), values.max(), values.mean(), file=sys.stdout)  # noqa: T201
        return x


class PrintCurrentTime(nn.Module):
    """Prints the seconds since it was made, or since it was last reset."""

    def __init__(self):
        super().__init__()
        self.first_time = time.time()

    def forward(self, x, msg: str = "", reset: bool = False):
        """`x` itself, after printing `msg` and the seconds."""
        if reset:
            self.first_time = time.time()
        print(msg, time.time() - self.first_time, file=sys.stdout)  # noqa: T201
        return x
