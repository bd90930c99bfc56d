"""A chain of modules in as few passes over memory as it allows.

What follows a convolution, a linear layer or a batch norm is done while its rows are at hand:

    product, norm, plus, activation    where no gradient is wanted, and the norm is in eval mode
    norm, plus, activation             there too; and in training, where the norm learns

A module joins only if it is of one of the classes named here, so that it does what that says, and
if nobody has hung a hook on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from gossamer.nn.activation import LeakyReLU, ReLU
from gossamer.nn.autocast import in_autocast_dtype
from gossamer.nn.batch_statistics import check_counted, frozen_affine, is_frozen, normalised
from gossamer.nn.conv import SparseConvolution
from gossamer.nn.linear import Linear
from gossamer.nn.norm import BatchNorm, SyncBatchNorm, learns_alone
from gossamer.nn.product import wants_gradient
from gossamer.ops.conv import Epilogue
from gossamer.ops.rows import affine
from gossamer.tensor import SparseTensor

NORMS = (BatchNorm, SyncBatchNorm, nn.BatchNorm1d, nn.SyncBatchNorm)
RELUS = (ReLU, nn.ReLU, LeakyReLU, nn.LeakyReLU)


@dataclass(frozen=True, eq=False)
class Plus:
    """A link that adds another tensor, on the same sites or on others."""

    other: SparseTensor

    def __call__(self, x: SparseTensor) -> SparseTensor:
        """The sum.

        Raises:
            ValueError: the two differ in channels.
        """
        came, wanted = self.other.channels, x.channels
        if came != wanted:
            raise ValueError(
                f"around makes {came} channels and body {wanted}; wanted the same; give an around "
                f"that leads to {wanted}, for instance nn.Linear(in_channels, {wanted})"
            )
        return x + self.other


Link = nn.Module | Plus


def run(links: Sequence[Link], x, alone: Callable):
    """What a chain makes of `x`, a SparseTensor or a tensor.

    Args:
        links: one after the other.
        alone: takes (link, x) and calls a link that joins no other.
    """
    while links:
        group = _Group.first(links)
        y = group.together(x) if len(group) > 1 and isinstance(x, SparseTensor) else None
        done = 1 if y is None else len(group)
        x, links = alone(links[0], x) if y is None else y, links[done:]
    return x


@dataclass(frozen=True, eq=False)
class _Group:
    """The first links of a chain, as far as one pass could take them."""

    product: SparseConvolution | Linear | None = None
    norm: nn.BatchNorm1d | nn.SyncBatchNorm | None = None
    plus: Plus | None = None
    activation: nn.Module | None = None

    @classmethod
    def first(cls, links: Sequence[Link]) -> "_Group":
        found, place = {}, 0
        for name, fits in _ORDER.items():
            if place < len(links) and fits(links[place]):
                found[name], place = links[place], place + 1
        return cls(**found)

    def __len__(self) -> int:
        parts = (self.product, self.norm, self.plus, self.activation)
        return sum(part is not None for part in parts)

    def together(self, x: SparseTensor) -> SparseTensor | None:
        """What the links make of `x`; None where they have to run one by one."""
        if self.product is not None:
            return self._multiplied(self.product, x)
        return None if self.norm is None else self._normalised(self.norm, x)

    def _multiplied(self, product: SparseConvolution | Linear, x: SparseTensor):
        norm, other = self.norm, self.plus and self.plus.other.features
        is_linear = isinstance(product, Linear)
        columns = product.out_features if is_linear else product.out_channels
        if norm is not None and not (is_frozen(norm) and norm.num_features == columns):
            return None
        parameters = product.weight, product.bias, *_parameters(norm)
        if wants_gradient(x.features, other, *parameters) or (is_linear and x.device.type != "cpu"):
            return None
        (like,) = in_autocast_dtype(x.features)
        stays = is_linear or product.geometry.kind == "submanifold"
        if not self._fits(x, columns, like.dtype, stays):
            return None
        scale, shift = None, product.bias
        if norm is not None:
            scale, shift = frozen_affine(norm, product.bias, x.dtype)
        named = "none" if self._slope == 1 else "leaky_relu"
        return product.multiplied(x, Epilogue(scale, shift, other, named, self._slope))

    def _normalised(self, norm: nn.BatchNorm1d | nn.SyncBatchNorm, x: SparseTensor):
        other, slope = self.plus and self.plus.other.features, self._slope
        if norm.num_features != x.channels or not self._fits(x, x.channels, x.dtype, True):
            return None
        if is_frozen(norm):
            if wants_gradient(x.features, other, *_parameters(norm)):
                return None
            scale, shift = frozen_affine(norm, None, x.dtype)
            return x.with_features(affine(x.features, scale, shift, other, slope))
        check_counted(norm, x.sites)
        if not learns_alone(norm, x.features):
            return None
        return x.with_features(normalised(norm, x.features, other, slope))

    def _fits(self, x: SparseTensor, columns: int, dtype: torch.dtype, stays: bool) -> bool:
        """Whether what is added has the sites, the shape and the dtype of what it is added to."""
        if self.plus is None:
            return True
        other = self.plus.other
        shape = len(x), columns
        fits = other.features.shape == shape and other.dtype == dtype
        return stays and fits and other.sites.same_sites(x.sites)

    @property
    def _slope(self) -> float:
        """What the activation multiplies negative numbers by; 1 where there is none."""
        return 1.0 if self.activation is None else getattr(self.activation, "negative_slope", 0.0)


def _parameters(norm: nn.BatchNorm1d | nn.SyncBatchNorm | None) -> tuple[Tensor | None, ...]:
    return () if norm is None else (norm.weight, norm.bias)


def _is_product(link: Link) -> bool:
    if not isinstance(link, (SparseConvolution, Linear)):
        return False
    kind = SparseConvolution if isinstance(link, SparseConvolution) else Linear
    return is_bare(link) and all(
        getattr(type(link), name) is getattr(kind, name) for name in ("forward", "multiplied")
    )


def _is_norm(link: Link) -> bool:
    return isinstance(link, nn.Module) and type(link) in NORMS and is_bare(link)


def _is_activation(link: Link) -> bool:
    if isinstance(link, nn.LeakyReLU) and link.negative_slope < 0:
        return False
    return isinstance(link, nn.Module) and type(link) in RELUS and is_bare(link)


def is_bare(link: nn.Module) -> bool:
    """Whether a module does what its class was written to do, and nobody watches it.

    That is, nobody has hung a hook on it or on all modules, or put another forward in its place.
    """
    replaced = "forward" in vars(link) or _replaced(type(link))
    return not replaced and not any(
        (
            link._forward_hooks,
            link._forward_pre_hooks,
            link._backward_hooks,
            link._backward_pre_hooks,
            torch_module._global_forward_hooks,
            torch_module._global_forward_pre_hooks,
            torch_module._global_backward_hooks,
            torch_module._global_backward_pre_hooks,
        )
    )


def _replaced(kind: type) -> bool:
    return kind in _WRITTEN and kind.forward is not _WRITTEN[kind]  # type: ignore[attr-defined]


# As they are when this is loaded: programs that trace or calibrate put their own into classes.
_WRITTEN = {kind: kind.forward for kind in (*NORMS, *RELUS, SparseConvolution, Linear)}

_ORDER: dict[str, Callable[[Link], bool]] = {
    "product": _is_product,
    "norm": _is_norm,
    "plus": lambda link: isinstance(link, Plus),
    "activation": _is_activation,
}
