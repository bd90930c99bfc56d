"""Normalisation of features over all rows of a batch, or over those of each sample."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gossamer.compat.layers.passing import mapped, written
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField
from gossamer.compat.minkowski.rowwise import located, values_of
from gossamer.compat.rows.samples import normalised as normalised_by_sample
from gossamer.compat.rows.values import Values
from gossamer.nn.batch_statistics import normalised, takes
from gossamer.nn.chain import is_bare

AnyTensor = TypeVar("AnyTensor", SparseTensor, TensorField)


class MinkowskiBatchNorm(nn.Module):
    """torch.nn.BatchNorm1d, kept as `bn`, over the rows of all samples.

    With fewer than two rows there is no variance to learn from; then training normalises with the
    running statistics and leaves them as they are.

    Args:
        num_features, eps, momentum, affine, track_running_stats: as torch's layer takes them.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        self.bn: Any = nn.BatchNorm1d(
            num_features,
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
        )

    @located
    def forward(self, input: AnyTensor) -> AnyTensor:
        """The same sites or points.

        Raises:
            ValueError: the input has another number of channels.
        """
        values = values_of(input, self.bn.num_features)
        if not _learns_alone(self.bn, values.at_hand):
            return input._with(mapped(values, self.bn))
        return input._with(Values(normalised(self.bn, values.at_hand), values.rows))

    def __repr__(self) -> str:
        bn = self.bn
        return (
            f"{type(self).__name__}({bn.num_features}, eps={bn.eps}, momentum={bn.momentum}, "
            f"affine={bn.affine}, track_running_stats={bn.track_running_stats})"
        )


class MinkowskiSyncBatchNorm(MinkowskiBatchNorm):
    """torch.nn.SyncBatchNorm, kept as `bn`: over the rows of all processes.

    Outside a process group it is `MinkowskiBatchNorm`, also on a CPU.

    Args:
        num_features, eps, momentum, affine, track_running_stats, process_group: as torch's layer
            takes them.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
    ):
        nn.Module.__init__(self)
        self.bn = nn.SyncBatchNorm(
            num_features,
            eps=eps,
            momentum=momentum,  # type: ignore[arg-type]
            affine=affine,
            track_running_stats=track_running_stats,
            process_group=process_group,
        )

    @classmethod
    def convert_sync_batchnorm(cls, module: nn.Module, process_group: Any = None) -> nn.Module:
        """`module` with every `MinkowskiBatchNorm` in it replaced; it keeps its parameters.

        Args:
            module: a network, which is changed, or a norm.
            process_group: as torch.nn.SyncBatchNorm takes it.
        """
        if isinstance(module, MinkowskiBatchNorm):
            return cls._in_place_of(module, process_group)
        for name, child in module.named_children():
            module.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return module

    @classmethod
    def _in_place_of(cls, norm: MinkowskiBatchNorm, process_group: Any) -> "MinkowskiSyncBatchNorm":
        old = norm.bn
        sync = cls(
            old.num_features,
            old.eps,
            old.momentum,
            old.affine,
            old.track_running_stats,
            process_group,
        )
        # An optimizer may hold the parameters, so they themselves go over.
        for name, parameter in old.named_parameters(recurse=False):
            setattr(sync.bn, name, parameter)
        for name, buffer in old.named_buffers(recurse=False):
            setattr(sync.bn, name, buffer)
        return sync.train(norm.training)


class MinkowskiInstanceNormFunction:
    """Rows with mean 0 and variance 1 over each sample, where a Function is wanted."""

    @staticmethod
    def apply(
        in_feat: Tensor,
        in_coords_key: Any,
        glob_coords_key: Any = None,
        coords_manager: Any = None,
        gpooling_mode: Any = None,
    ) -> Tensor:
        """[N, C].

        Args:
            in_feat: [N, C].
            in_coords_key: where the rows lie, in `coords_manager`.
            coords_manager: a `CoordinateManager`.
            glob_coords_key, gpooling_mode: not looked at.
        """
        found = coords_manager._atlas.at(in_coords_key.name)
        y = normalised_by_sample(
            found.rows.onto(in_feat, "first"), found.sites.coords.per_sample(), 1e-8
        )
        return found.rows.back(y.to(in_feat.dtype))


class MinkowskiInstanceNorm(MinkowskiModuleBase):
    """Every channel with mean 0 and variance 1 over the rows of each sample, then an affine map.

    Args:
        num_features: C.
    """

    eps = 1e-8

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features
        self.weight = nn.Parameter(torch.ones(1, num_features))
        self.bias = nn.Parameter(torch.zeros(1, num_features))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(nchannels={self.num_features})"

    def reset_parameters(self) -> None:
        """Make the affine map the identity."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same sites.

        Raises:
            AssertionError: the input is no SparseTensor.
            ValueError: it has another number of channels.
        """
        assert isinstance(input, SparseTensor), (
            f"input is {type(input).__name__}; wanted a SparseTensor"
        )
        found = input._map
        features = values_of(input, self.num_features).onto(found.rows, "first")
        y = normalised_by_sample(features, found.sites.coords.per_sample(), self.eps)
        y = y * self.weight.to(y.dtype) + self.bias.to(y.dtype)
        return input._with(written(y.to(features.dtype), found.rows))


class MinkowskiStableInstanceNorm(MinkowskiInstanceNorm):
    """`MinkowskiInstanceNorm` with a larger number added to the variance."""

    eps = 1e-6


def _learns_alone(bn: nn.Module, features: Tensor) -> bool:
    """Whether a norm is torch's and takes its statistics from this process alone."""
    if type(bn) not in (nn.BatchNorm1d, nn.SyncBatchNorm) or not is_bare(bn):
        return False
    if isinstance(bn, nn.SyncBatchNorm) and torch.distributed.is_available():
        if torch.distributed.is_initialized():
            return False
    return takes(bn, features)  # type: ignore[arg-type]
