"""What sites have in common with the others of their sample."""

import torch
from torch import Tensor

from gossamer.coords import Coords


def normalised(features: Tensor, sites: Coords, eps: float) -> Tensor:
    """[N, C]: with mean 0 and variance 1 over each sample, in float32 or wider.

    Args:
        features: [N, C].
        sites: where the rows lie.
        eps: added to the variance.
    """
    # Half types have too few digits for a variance over many sites.
    wide = features.float() if features.itemsize < 4 else features
    samples = sites.per_sample()
    centred = wide - sites.spread(samples.reduce(wide, "mean"))
    variance = samples.reduce(centred.square(), "mean")
    return centred * sites.spread((variance + eps).rsqrt())


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
