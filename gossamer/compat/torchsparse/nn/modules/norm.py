"""Normalisation of the features of a tensor."""

import torch
from torch import Tensor, nn

from gossamer.compat.rows.samples import by_sample
from gossamer.compat.rows.samples import normalised as normalised_by_sample
from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse.nn.utils.apply import alike
from gossamer.compat.torchsparse.tensor import SparseTensor
from gossamer.compat.voxelnets.given import check_kind
from gossamer.nn.batch_statistics import normalised, takes
from gossamer.nn.located import located
from gossamer.rulebook import Rulebook

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm"]


class BatchNorm(nn.BatchNorm1d):
    """torch.nn.BatchNorm1d over the rows of the whole batch.

    With fewer than two rows there is no variance to learn from; then training normalises with the
    running statistics and leaves them as they are, where torch.nn raises.
    """

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        return alike(input, self._normalised)

    def _normalised(self, feats: Tensor) -> Tensor:
        _check(feats, self.num_features)
        return normalised(self, feats) if takes(self, feats) else super().forward(feats)


class GroupNorm(nn.GroupNorm):
    """torch.nn.GroupNorm over the rows of each sample and the channels of each group."""

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        check_kind(input, SparseTensor)
        feats = input.feats
        _check(feats, self.num_channels)
        y = normalised_by_sample(feats, _samples(input), self.eps, self.num_groups)
        return input._with(Values(_scaled(y, self.weight, self.bias).to(feats.dtype)))


class InstanceNorm(nn.InstanceNorm1d):
    """torch.nn.InstanceNorm1d: every channel over the rows of each sample.

    Running statistics, where they are kept, are the mean of those of the samples.
    """

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        check_kind(input, SparseTensor)
        feats = input.feats
        _check(feats, self.num_features)
        known = self.running_mean, self.running_var
        if not self.training and known[0] is not None and known[1] is not None:
            y = (feats - known[0]) * (known[1] + self.eps).rsqrt()
        else:
            samples = _samples(input)
            y = normalised_by_sample(feats, samples, self.eps)
            if known[0] is not None and len(feats):
                self._learn(samples, feats.detach().to(known[0].dtype))
        return input._with(Values(_scaled(y, self.weight, self.bias).to(feats.dtype)))

    @torch.no_grad()
    def _learn(self, samples: Rulebook, feats: Tensor) -> None:
        """Move the running statistics towards those of these rows."""
        mean = samples.reduce(feats, "mean")
        count = samples.counts().unsqueeze(1)
        variance = samples.reduce((feats - samples.T.reduce(mean, "sum")).square(), "mean")
        # As torch has it, of an unbiased variance; of a single row there is none.
        unbiased = variance * count / (count - 1).clamp(min=1)
        share = 0.0 if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            assert running is not None
            running.lerp_(new.mean(0), share)


def _samples(x: SparseTensor) -> Rulebook:
    """What sends every row to its sample; there are only those that have rows."""
    numbers, sample = torch.unique(x.coords[:, 0].long(), return_inverse=True)
    return by_sample(sample, len(numbers))


def _check(feats: Tensor, wanted: int) -> None:
    if feats.ndim != 2 or feats.shape[1] != wanted:
        raise ValueError(
            f"feats has shape {tuple(feats.shape)}; this layer was built for [N, {wanted}]"
        )


def _scaled(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight.to(y.dtype)
    return y if bias is None else y + bias.to(y.dtype)
