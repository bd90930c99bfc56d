"""Poolings over arrays, forwards and backwards, as `spconv.pytorch.ops` has them."""

import torch
from torch import Tensor

from gossamer.checks import sample_range
from gossamer.compat.arrays.building import rows_of
from gossamer.compat.arrays.pool import (
    divided,
    max_of_lists,
    max_of_table,
    max_rows,
    mean_of_table,
    scatter_to_winners,
    sum_of_table,
)


def indice_maxpool(
    features: Tensor, indice_pairs: Tensor, indice_pair_num: Tensor, num_activate_out: int
) -> Tensor:
    """[M, C]: the largest value that an output sees, also where all are negative; 0 without any."""
    return max_of_lists(features, indice_pairs, indice_pair_num, rows_of(num_activate_out))


def indice_maxpool_backward(
    features: Tensor,
    out_features: Tensor,
    out_bp: Tensor,
    indice_pairs: Tensor,
    indice_pair_num: Tensor,
) -> Tensor:
    """[N, C]: the gradient of features, all of it at the first row that holds a maximum."""
    winner = max_rows(features, [indice_pairs, indice_pair_num], len(out_bp), False)
    return scatter_to_winners(out_bp, winner, len(features))


def indice_maxpool_implicit_gemm(
    features: Tensor, indice_pairs: Tensor, num_activate_out: int
) -> Tensor:
    """`indice_maxpool` over the table of outputs, `pair_fwd`."""
    return max_of_table(features, indice_pairs, rows_of(num_activate_out))


def indice_maxpool_implicit_gemm_backward(
    features: Tensor, out_features: Tensor, out_bp: Tensor, indice_pairs: Tensor
) -> Tensor:
    """`indice_maxpool_backward` over the table of inputs, `pair_bwd`."""
    winner = max_rows(features, [indice_pairs], len(out_bp), True)
    return scatter_to_winners(out_bp, winner, len(features))


def indice_avgpool_implicit_gemm(
    features: Tensor, indice_pairs: Tensor, num_activate_out: int, calc_count: bool
) -> tuple[Tensor, Tensor]:
    """The mean of the rows that an output sees, over the table of outputs, and their number.

    Args:
        features: [N, C].
        indice_pairs: [K, M] int32, `pair_fwd`.
        num_activate_out: M.
        calc_count: whether to return their number.

    Returns:
        out: [M, C], 0 without rows.
        count_out: [M] int32, or empty.
    """
    out, count = mean_of_table(features, indice_pairs, rows_of(num_activate_out))
    return out, count if calc_count else torch.Tensor()


def indice_avgpool_implicit_gemm_backward(
    out_bp: Tensor, indice_pairs: Tensor, count_out: Tensor
) -> Tensor:
    """[N, C]: the gradient of the features of a mean, over the table of inputs, `pair_bwd`.

    Raises:
        ValueError: `count_out` has another number of rows than `out_bp`.
    """
    if count_out.shape != out_bp.shape[:1]:
        raise ValueError(
            f"count_out is {tuple(count_out.shape)} and out_bp {tuple(out_bp.shape)}; wanted one "
            "count a row, as indice_avgpool_implicit_gemm returns with calc_count=True"
        )
    return sum_of_table(divided(out_bp, count_out), indice_pairs, indice_pairs.shape[1], False)


def global_pool_rearrange(coords: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """The rows of each sample, side by side.

    Args:
        coords: [N, 1+D] int32, (batch, axes).
        batch_size: B.

    Returns:
        [B, N] int32, the rows of each sample in ascending order, then -1; [B] int32, how many.

    Raises:
        ValueError: a batch index is out of range.
    """
    batch = coords[:, 0].long()
    least, most = (int(v) for v in batch.aminmax()) if len(batch) else (0, -1)
    sample_range("column 0 of coords, the batch,", least, most, batch_size)
    counts = torch.bincount(batch, minlength=batch_size)
    order = batch.argsort(stable=True)
    start = (counts.cumsum(0) - counts)[batch[order]]
    place = torch.arange(len(batch), device=batch.device) - start
    rows = torch.full((batch_size, len(batch)), -1, dtype=torch.int32, device=batch.device)
    rows[batch[order], place] = order.int()
    return rows, counts.int()


def maximum_value_int_(ten: Tensor, value: int) -> None:
    """Raise every number of `ten` below `value` to it, in place."""
    with torch.no_grad():
        ten.clamp_(min=value)
