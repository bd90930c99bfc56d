"""What layers are given, refused where they can't read it."""

from typing import Any

from torch import Tensor

from gossamer.checks import tensor
from gossamer.compat.rows.values import Values


def check_kind(value: Any, kind: type) -> None:
    """Refuse what is no sparse tensor.

    Raises:
        TypeError: `value` is no `kind`.
    """
    if not isinstance(value, kind):
        raise TypeError(
            f"the input is a {type(value).__name__}; wanted a torchsparse.SparseTensor, which "
            "SparseTensor(feats, coords) makes; its features alone, x.F, are for layers of torch.nn"
        )


def check_rows(values: Values, coords: Any) -> None:
    """Refuse features that are not [N, C] floating on N rows of coords.

    Args:
        values: of a tensor.
        coords: the tensor that says its rows, or anything with their number.

    Raises:
        TypeError: they are no tensor.
        ValueError: they have other axes, or another number of rows.
    """
    feats = tensor("feats", values.at_hand)
    if feats.ndim != 2:
        raise ValueError(f"feats has shape {tuple(feats.shape)}; wanted [N, C]")
    if not hasattr(coords, "__len__") or (isinstance(coords, Tensor) and coords.ndim != 2):
        return  # which is told where they are read
    count = len(feats if values.rows is None else values.rows)
    if count != len(coords):
        raise ValueError(
            f"feats has {count} rows and coords {len(coords)}; wanted one row a voxel in both"
        )
