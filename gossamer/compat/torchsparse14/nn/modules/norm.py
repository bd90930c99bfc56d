"""Normalisation."""

from torch import Tensor, nn

from gossamer.compat.pointcells.samples import samples_of
from gossamer.compat.rows.samples import by_sample
from gossamer.compat.rows.samples import normalised as normalised_by_sample
from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse14.nn.utils.apply import alike
from gossamer.compat.torchsparse14.tensor import SparseTensor
from gossamer.nn.batch_statistics import normalised, takes

__all__ = ["BatchNorm", "GroupNorm"]


class BatchNorm(nn.BatchNorm1d):
    """torch.nn.BatchNorm1d over the rows of the whole batch.

    With fewer than two rows there is no variance to learn from; then training normalises with the
    running statistics and leaves them as they are, where torch.nn raises.
    """

    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same rows, every channel normalised."""
        return alike(input, self._normalised)

    def _normalised(self, feats: Tensor) -> Tensor:
        return normalised(self, feats) if takes(self, feats) else super().forward(feats)


class GroupNorm(nn.GroupNorm):
    """torch.nn.GroupNorm over the rows of each sample."""

    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same rows, normalised over each sample's rows and each group's channels.

        Raises:
            ValueError: a batch index is negative.
        """
        sample = input.coords[:, 3].long()
        samples = by_sample(sample, samples_of(sample))
        y = normalised_by_sample(input.feats, samples, self.eps, self.num_groups)
        if self.weight is not None:
            y = y * self.weight.to(y.dtype) + self.bias.to(y.dtype)
        return input._with(Values(y.to(input.feats.dtype)))
