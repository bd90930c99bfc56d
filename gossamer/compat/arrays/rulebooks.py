"""The rulebook that arrays describe, made once and kept for as long as they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gossamer.compat.arrays.layouts import link_of_pairs, link_of_table
from gossamer.rulebook import Rulebook


@dataclass(frozen=True, eq=False)
class Known:
    """A rulebook, and what it was made of."""

    asked: tuple[int, int, bool]
    versions: list[int]  # how often each array had been written into
    counts: Sequence[Tensor]  # held, so that no other tensor can come to lie at their address
    rulebook: Rulebook


_KNOWN = WeakTensorKeyDictionary()


def rulebook_of(
    arrays: Sequence[Tensor], inputs: int, outputs: int, inverse: bool, subm: bool
) -> Rulebook:
    """The rulebook of lists or of a table.

    Args:
        arrays: `indice_pairs` and `indice_pair_num`, or `pair_fwd` alone.
        inputs: how many rows are read.
        outputs: how many rows are written.
        inverse: whether the arrays are to be read backwards.
        subm: whether lists may leave out half of the counts.

    Raises:
        TypeError: an array is not of ints.
        ValueError: an array has a wrong shape, or a count or row out of range.
    """
    if inverse:
        return rulebook_of(arrays, outputs, inputs, False, subm).T
    pairs, *counts = arrays
    asked = (inputs, outputs, subm)
    if any(array.is_inference() for array in arrays):  # nobody counts what is written into these
        return _read(arrays, *asked)
    known = _KNOWN.get(pairs)
    versions = [array._version for array in arrays]
    if known is None or not _holds(known, asked, versions, counts):
        known = Known(asked, versions, [c.detach() for c in counts], _read(arrays, *asked))
        _KNOWN[pairs] = known
    return known.rulebook


def _holds(known: Known, asked: tuple, versions: list[int], counts: Sequence[Tensor]) -> bool:
    same = [old.data_ptr() == new.data_ptr() for old, new in zip(known.counts, counts, strict=True)]
    return known.asked == asked and known.versions == versions and all(same)


def _read(arrays: Sequence[Tensor], inputs: int, outputs: int, subm: bool) -> Rulebook:
    if len(arrays) == 2:
        return link_of_pairs(arrays[0], arrays[1], inputs, outputs, subm).rulebook
    link = link_of_table(arrays[0], inputs)
    if len(link.target) != outputs:
        raise ValueError(
            f"pair_fwd has {len(link.target)} columns and num_activate_out is {outputs}; wanted "
            "one column an output"
        )
    return link.rulebook
