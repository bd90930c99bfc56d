"""A rulebook as the arrays that spconv shows, and back.

`ConvAlgo.Native` has lists, [2, K, N] with their lengths [K]: for every tap the rows it reads and
the rows it writes. The implicit-GEMM algorithms have tables, [K, M]: for every tap and output the
row it reads, or -1. Beside each table stand bit sets of the taps that a row has, and an order that
brings rows with the same taps together.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gossamer.checks import tensor
from gossamer.compat.rows.sites import Link, Rows
from gossamer.ops.keys import argsort
from gossamer.rulebook import Rulebook

SPLIT = 2  # the number of ConvAlgo.MaskSplitImplicitGemm
WORD = 32  # taps in one int of a bit set
TILE = 32  # rows that `tile_masks` takes together, a power of two


def native_arrays(link: Link) -> tuple[Tensor, Tensor]:
    """The lists of ConvAlgo.Native.

    A submanifold kernel counts only the taps before its centre: the centre reads every row for
    itself, and tap K-1-i has the pairs of tap i turned round, in the same order. Where rows repeat
    that is not so, and every tap is counted.

    Returns:
        indice_pairs: [2, K, N] int32, rows read and rows written, -1 past the count.
        indice_pair_num: [K] int32, the counts.
    """
    triples, taps, rows = link.triples(), link.rulebook.taps, len(link.source)
    if not _is_mirrored(link):
        return full_lists(triples, taps, rows)
    centre = taps // 2
    pairs, counts = full_lists(triples[triples[:, 0] < centre], taps, rows)
    pairs[:, centre + 1 :] = pairs[:, :centre].flip(0, 1)
    pairs[:, centre] = torch.arange(rows, device=pairs.device, dtype=pairs.dtype)
    return pairs, counts


def _is_mirrored(link: Link) -> bool:
    opposite = tuple(reversed(range(link.rulebook.taps)))
    return link.submanifold and not link.source.repeat and link.rulebook.mirror == opposite


def full_lists(triples: Tensor, taps: int, width: int) -> tuple[Tensor, Tensor]:
    """Lists that count every tap, as spconv 1.x has them.

    Args:
        triples: [P, 3] int64, (tap, row read, row written), sorted by tap.
        taps: K.
        width: N.

    Returns:
        As `native_arrays`.
    """
    tap = triples[:, 0]
    counts = torch.bincount(tap, minlength=taps)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(tap), device=tap.device) - starts[tap]
    pairs = torch.full((2, taps, width), -1, dtype=torch.int32, device=tap.device)
    pairs[:, tap, place] = triples[:, 1:].mT.int()
    return pairs, counts.int()


def implicit_gemm_arrays(
    link: Link, algo: object, is_train: bool, do_sort: bool = True
) -> tuple[
    Tensor, Tensor, list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[np.ndarray]
]:
    """The tables of the implicit-GEMM algorithms.

    Args:
        link: the rulebook, whose K taps become at most 32 where `algo` splits them.
        algo: a ConvAlgo, or its number.
        is_train: whether a submanifold kernel gets what only gradients need; others always do,
            because an inverse convolution may follow.
        do_sort: whether rows with the same taps are brought together.

    Returns:
        pair_fwd: [K, M] int32, the row that each output reads, or -1.
        pair_bwd: [K, N] int32, the row that each input feeds, or -1; empty where not wanted. Of
            several rows that a repeated one feeds, the first.
        pair_mask_fwd_splits, pair_mask_bwd_splits: for each split [M or N, ceil(K/32)] int32, the
            taps that a row has, ascending as unsigned numbers.
        mask_argsort_fwd_splits, mask_argsort_bwd_splits: for each split [M or N] int32, the row
            that each bit set belongs to.
        masks: for each split [1] uint32, its taps.

    Raises:
        ValueError: an output reads several rows through one tap, or there are too many taps.
    """
    triples, taps = link.triples(), link.rulebook.taps
    pair_fwd = _table(triples, taps, len(link.target), 2)
    if int((pair_fwd >= 0).sum()) != len(triples):
        raise ValueError(
            "indices has rows that repeat, so an output reads several rows through one tap, and a "
            "table of one row each can't say so; use algo=ConvAlgo.Native, or merge such rows first"
        )
    masks = split_masks(taps, algo)
    forward = _bit_sets(pair_fwd, masks, do_sort)
    if link.submanifold and not is_train:
        return pair_fwd, torch.Tensor(), forward[0], [], forward[1], [], masks
    pair_bwd = _table(triples, taps, len(link.source), 1)
    backward = _bit_sets(pair_bwd, masks, do_sort)
    return pair_fwd, pair_bwd, forward[0], backward[0], forward[1], backward[1], masks


def split_masks(taps: int, algo: object) -> list[np.ndarray]:
    """For each split of `algo`, [1] uint32: the taps it walks.

    Raises:
        ValueError: there are more taps than a split has bits.
    """
    if int(getattr(algo, "value", algo)) != SPLIT:  # type: ignore[call-overload]
        return [np.array([0xFFFFFFFF], dtype=np.uint32)]
    if taps > WORD:
        raise ValueError(
            f"ksize has {taps} taps; MaskSplitImplicitGemm takes at most {WORD}; use another algo"
        )
    first = (1 << (taps + 1) // 2) - 1
    rest = (1 << taps) - 1 - first
    return [np.array([mask], dtype=np.uint32) for mask in (first, rest)]


def _table(triples: Tensor, taps: int, rows: int, column: int) -> Tensor:
    """[K, rows] int32: for every tap and row of a column of `triples`, the row in the other one."""
    key = triples[:, 0] * rows + triples[:, column]
    order = argsort(key)
    key, value = key[order], triples[order, 3 - column].int()
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key.diff() != 0
    table = torch.full((taps * rows,), -1, dtype=torch.int32, device=key.device)
    table[key[first]] = value[first]
    return table.view(taps, rows)


def _bit_sets(
    table: Tensor, masks: list[np.ndarray], do_sort: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """For each split, the sorted bit sets of the rows of a table, and the order that sorts them."""
    there = table >= 0
    words = there.new_zeros(-(-len(table) // WORD), table.shape[1], dtype=torch.int64)
    for tap, row in enumerate(there):
        words[tap // WORD] += row.long() << tap % WORD
    sets, orders = [], []
    for mask in masks:
        mine = words & int(mask[0])
        order = torch.arange(mine.shape[1], device=mine.device)
        for word in mine if do_sort else ():
            order = order[argsort(word[order])]
        sets.append(_as_int32(mine[:, order]).mT.contiguous())
        orders.append(order.int())
    return sets, orders


def tile_masks(pair_mask_splits: Sequence[Tensor]) -> Tensor:
    """[splits, ceil(M / TILE)] int32, [.., ceil(K/32)] for more than 32 taps: the taps of a tile.

    Args:
        pair_mask_splits: sorted bit sets [M, ceil(K/32)] of each split.
    """
    sets = torch.stack([sets.view(len(sets), -1) for sets in pair_mask_splits])
    lack = -sets.shape[1] % TILE
    tiles = torch.nn.functional.pad(sets, (0, 0, 0, lack)).unflatten(1, (-1, TILE))
    while (rows := tiles.shape[2]) > 1:
        tiles = tiles[:, :, : rows // 2] | tiles[:, :, rows // 2 :]
    tiles = tiles.squeeze(2)
    return tiles.squeeze(2) if tiles.shape[2] == 1 else tiles


def _as_int32(bits: Tensor) -> Tensor:
    """The same low 32 bits, where int32 has the highest for its sign."""
    return torch.where(bits >> (WORD - 1) != 0, bits - (1 << WORD), bits).int()


def link_of_pairs(
    indice_pairs: Tensor, indice_pair_num: Tensor, inputs: int, outputs: int, submanifold: bool
) -> Link:
    """The rulebook that lists describe.

    Args:
        indice_pairs: [2, K, N] int32, rows read and rows written.
        indice_pair_num: [K] int32, how many of them count.
        inputs: how many rows may be read.
        outputs: how many rows may be written.
        submanifold: whether a count of 0 at the centre says that each row reads itself there, and
            that tap K-1-i has as many pairs as tap i.

    Raises:
        TypeError: an array is not of ints.
        ValueError: a wrong shape, a count or a row out of range.
    """
    taps = _check_lists(indice_pairs, indice_pair_num)
    counts, centre = indice_pair_num.long(), taps // 2
    implied = submanifold and taps % 2 == 1 and int(counts[centre]) == 0
    if implied:
        counts = torch.cat([counts[: centre + 1], counts[:centre].flip(0)])
    numbers = torch.arange(indice_pairs.shape[2], device=counts.device)
    tap, place = (numbers < counts.unsqueeze(1)).nonzero(as_tuple=True)
    source, target = indice_pairs[:, tap, place].long()
    _check_rows("indice_pairs[0]", source, 0, inputs)
    _check_rows("indice_pairs[1]", target, 0, outputs)
    triples = torch.stack([tap, source, target], dim=1)
    if implied:
        triples = torch.cat([triples, _identity(centre, inputs, outputs, counts.device)])
    rulebook = Rulebook.of_triples(triples, taps, inputs, outputs)
    return Link(Rows(inputs), Rows(outputs), rulebook, submanifold)


def _identity(tap: int, inputs: int, outputs: int, device: torch.device) -> Tensor:
    if inputs != outputs:
        raise ValueError(
            f"features has {inputs} rows and num_activate_out is {outputs}; a submanifold kernel "
            "keeps its rows, so wanted the same number"
        )
    rows = torch.arange(inputs, device=device)
    return torch.stack([torch.full_like(rows, tap), rows, rows], dim=1)


def link_of_table(pair_fwd: Tensor, inputs: int) -> Link:
    """The rulebook that a table describes.

    Args:
        pair_fwd: [K, M] int32, the row that each output reads, or -1.
        inputs: how many rows may be read.

    Raises:
        TypeError: the table is not of ints.
        ValueError: a wrong shape, or a row out of range.
    """
    _check_ints("pair_fwd", pair_fwd, "[K, M]", 2)
    _check_rows("pair_fwd", pair_fwd, -1, inputs)
    tap, target = (pair_fwd >= 0).nonzero(as_tuple=True)
    triples = torch.stack([tap, pair_fwd[tap, target].long(), target], dim=1)
    taps, outputs = pair_fwd.shape
    rulebook = Rulebook.of_triples(triples, taps, inputs, outputs)
    return Link(Rows(inputs), Rows(outputs), rulebook)


def _check_lists(indice_pairs: Tensor, indice_pair_num: Tensor) -> int:
    _check_ints("indice_pairs", indice_pairs, "[2, K, N]", 3)
    _check_ints("indice_pair_num", indice_pair_num, "[K]", 1)
    ends, taps, width = indice_pairs.shape
    if ends != 2 or taps == 0 or len(indice_pair_num) != taps:
        raise ValueError(
            f"indice_pairs is {tuple(indice_pairs.shape)} and indice_pair_num "
            f"{tuple(indice_pair_num.shape)}; wanted [2, K, N] and [K], as get_indice_pairs "
            "returns them"
        )
    if indice_pairs.device != indice_pair_num.device:
        raise ValueError(
            f"indice_pairs is on {indice_pairs.device} and indice_pair_num on "
            f"{indice_pair_num.device}; wanted one device; move one of them with .to()"
        )
    _check_rows("indice_pair_num", indice_pair_num, 0, width + 1)
    return taps


def _check_ints(name: str, value: object, shape: str, ndim: int) -> None:
    array = tensor(name, value)
    if array.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} is {array.dtype}; wanted int32")
    if array.ndim != ndim:
        raise ValueError(f"{name} is {tuple(array.shape)}; wanted {shape}")


def _check_rows(name: str, value: Tensor, least: int, end: int) -> None:
    if not value.numel():
        return
    low, high = (int(v) for v in value.aminmax())
    if low < least or high >= end:
        raise ValueError(f"{name} has numbers from {low} to {high}; wanted {least} to {end - 1}")
