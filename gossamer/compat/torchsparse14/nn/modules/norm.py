"""Normalisation."""

from torch import Tensor, nn

from gossamer.checks import channels
from gossamer.compat.pointcells.samples import samples_of
from gossamer.compat.rows.samples import by_sample
from gossamer.compat.rows.samples import normalised as normalised_by_sample
from gossamer.compat.rows.values import Values
from gossamer.compat.torchsparse14.nn.utils.apply import alike
from gossamer.compat.torchsparse14.tensor import SparseTensor
from gossamer.compat.voxelnets.given import check_kind
from gossamer.nn.batch_statistics import normalised, takes
from gossamer.nn.located import located

__all__ = ["BatchNorm", "GroupNorm"]


class BatchNorm(nn.BatchNorm1d):
    """torch.nn.BatchNorm1d over the rows of the whole batch.

    With fewer than two rows there is no variance to learn from; then training normalises with the
    running statistics and leaves them as they are, where torch.nn raises.
    """

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same rows, every channel normalised.

        Raises:
            TypeError: input is no SparseTensor.
            ValueError: it has another number of channels.
        """
        return alike(input, self._normalised)

    def _normalised(self, feats: Tensor) -> Tensor:
        channels("feats", feats.shape[-1], self.num_features)
        return normalised(self, feats) if takes(self, feats) else super().forward(feats)


class GroupNorm(nn.GroupNorm):
    """torch.nn.GroupNorm over the rows of each sample."""

    @located
    def forward(self, input: SparseTensor) -> SparseTensor:
        """The same rows, normalised over each sample's rows and each group's channels.

        Raises:
            TypeError: input is no SparseTensor.
            ValueError: it has another number of channels, or a batch index is negative.
        """
        check_kind(input, SparseTensor)
        channels("feats", input.feats.shape[-1], self.num_channels)
        sample = input.coords[:, 3].long()
        samples = by_sample(sample, samples_of(sample))
        y = normalised_by_sample(input.feats, samples, self.eps, self.num_groups)
        if self.weight is not None:
            y = y * self.weight.to(y.dtype) + self.bias.to(y.dtype)
        return input._with(Values(y.to(input.feats.dtype)))
