"""What rows have in common with the others of their sample."""

import torch
from torch import Tensor

from gossamer.coords import Coords
from gossamer.rulebook import Rulebook


def normalised(
    features: Tensor, samples: Rulebook, eps: float, groups: int | None = None
) -> Tensor:
    """[R, C]: with mean 0 and variance 1 over each sample, in float32 or wider.

    Args:
        features: [R, C].
        samples: sends every row to its sample.
        eps: added to the variance.
        groups: how many parts the channels fall into, each of one mean and one variance. Default:
            every channel has its own.
    """
    # Half types have too few digits for a variance over many rows.
    wide = features.float() if features.itemsize < 4 else features
    centred = wide - _at_rows(_means(wide, samples, groups), samples)
    variance = _means(centred.square(), samples, groups)
    return centred * _at_rows((variance + eps).rsqrt(), samples)


def _means(features: Tensor, samples: Rulebook, groups: int | None) -> Tensor:
    """[S, C]: over the rows of each sample, and over the channels of each group."""
    means = samples.reduce(features, "mean")
    if groups is None:
        return means
    parts = means.unflatten(1, (groups, -1))
    return parts.mean(2, keepdim=True).expand_as(parts).flatten(1)


def _at_rows(vectors: Tensor, samples: Rulebook) -> Tensor:
    """[R, C]: at each row what its sample has; the gradient adds in a fixed order."""
    return samples.T.reduce(vectors, "sum")  # one pair a row, so a copy


def by_sample(sample: Tensor, count: int) -> Rulebook:
    """What sends rows in any order to their samples.

    Args:
        sample: [R] int64, from 0 to count - 1.
        count: how many samples there are.
    """
    rows, order = sample.sort(stable=True)
    return Rulebook.sending(order, rows, count, len(sample))


def spread(vectors: Tensor, batch: Tensor, sites: Coords) -> Tensor:
    """[N, C]: at each site what its sample has.

    Args:
        vectors: [S, C], a row a sample.
        batch: [S] int, the sample of each row, without repeats.
        sites: the N sites; samples without any need no row.

    Raises:
        ValueError: a sample with sites has no row.
    """
    row = batch.new_full((sites.batch_size,), -1, dtype=torch.int64)
    there = (batch < sites.batch_size).nonzero().squeeze(1)
    row[batch[there].long()] = there
    missing = ((row < 0) & (sites.per_sample().counts() > 0)).nonzero().squeeze(1)
    if len(missing):
        raise ValueError(
            f"the samples {missing.tolist()} have sites and no global row; the global tensor has "
            f"the samples {batch.tolist()}; wanted a row for each, as global pooling makes them"
        )
    if not len(vectors):
        return vectors.new_zeros(len(sites), vectors.shape[1])
    return sites.spread(vectors[row.clamp(min=0)])
