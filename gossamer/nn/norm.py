"""Normalisation layers on the features of a SparseTensor."""

import torch
from torch import Tensor, nn

from gossamer.nn.activation import OnFeatures
from gossamer.nn.batch_statistics import check_counted, normalised, takes
from gossamer.tensor import SparseTensor


class BatchNorm(nn.BatchNorm1d):
    """torch.nn.BatchNorm1d over the sites of the whole batch.

    With fewer than two sites there is no variance to learn from; then training normalises with the
    running statistics and leaves them as they are, where torch.nn raises. On the CPU the bits of
    the result are the same for any number of threads, which torch.nn's are not.
    """

    def forward(self, input: SparseTensor | Tensor):
        """The same sites, every channel normalised."""
        if not isinstance(input, SparseTensor):
            return super().forward(input)
        check_counted(self, input.sites)
        if learns_alone(self, input.features):
            return input.with_features(normalised(self, input.features))
        return input.with_features(super().forward(input.features))


class SyncBatchNorm(OnFeatures, nn.SyncBatchNorm):
    """torch.nn.SyncBatchNorm: BatchNorm over the sites of all processes' batches.

    Outside a process group it is BatchNorm, also on the CPU.
    """

    def forward(self, x: SparseTensor | Tensor):
        """The same sites, every channel normalised."""
        if isinstance(x, SparseTensor):
            check_counted(self, x.sites)
        if isinstance(x, SparseTensor) and learns_alone(self, x.features):
            return x.with_features(normalised(self, x.features))
        return super().forward(x)

    @classmethod
    def convert_sync_batchnorm(cls, module: nn.Module, process_group=None) -> nn.Module:
        """`module` with every BatchNorm in it replaced, parameters and statistics kept."""
        if isinstance(module, BatchNorm):
            sync = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
            )
            sync.load_state_dict(module.state_dict())
            like = next(iter(module.state_dict().values()), torch.empty(0))
            return sync.to(like.device).train(module.training)
        for name, child in module.named_children():
            module.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return module


def learns_alone(norm: nn.Module, features: Tensor) -> bool:
    """Whether a norm is ours and normalises by statistics of this process, as `normalised` does."""
    if isinstance(norm, SyncBatchNorm):
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return False
        return takes(norm, features)
    return isinstance(norm, BatchNorm) and takes(norm, features)


class LayerNorm(OnFeatures, nn.LayerNorm):
    """torch.nn.LayerNorm over the channels of each site."""


class GroupNorm(nn.Module):
    """Normalisation of groups of channels over the sites of each sample.

    Args:
        num_groups: how many groups the channels fall into.
        num_channels: C.
        eps: added to the variance.
        affine: whether to learn a scale and a shift a channel.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"num_channels is {num_channels}; {num_groups} groups do not divide it"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def forward(self, x: SparseTensor) -> SparseTensor:
        """The same sites, normalised over each sample's sites and each group's channels."""
        samples = x.sites.per_sample()
        # Half types have too few digits for a variance over many sites.
        features = x.features.float() if x.features.itemsize < 4 else x.features
        mean = self._spread(samples.reduce(features, "mean"), x)
        centred = features - mean
        variance = self._spread(samples.reduce(centred.square(), "mean"), x)
        y = centred * (variance + self.eps).rsqrt()
        if self.weight is not None and self.bias is not None:
            y = y * self.weight.to(y.dtype) + self.bias.to(y.dtype)
        return x.with_features(y.to(x.dtype))

    def _spread(self, per_sample: Tensor, x: SparseTensor) -> Tensor:
        """[N, C]: each sample's [B, C] averaged inside its groups, at each of its sites."""
        groups = per_sample.unflatten(1, (self.num_groups, -1))
        even = groups.mean(2, keepdim=True).expand_as(groups).flatten(1)
        return x.sites.spread(even)

    def extra_repr(self) -> str:
        affine = self.weight is not None
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={affine}"


class InstanceNorm(GroupNorm):
    """Normalisation of every channel over the sites of each sample.

    Args:
        num_features: C.
        eps: added to the variance.
        affine: whether to learn a scale and a shift a channel.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False):
        super().__init__(num_features, num_features, eps, affine)
