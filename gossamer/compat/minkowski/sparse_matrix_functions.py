"""Products of a sparse and a dense matrix, with gradients for both."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gossamer.rulebook import Rulebook


def spmm(
    rows: Tensor,
    cols: Tensor,
    vals: Tensor,
    size: Sequence[int],
    mat: Tensor,
    is_sorted: bool = False,
    cuda_spmm_alg: int = 1,
) -> Tensor:
    """[M, C]: the product of a sparse matrix and a dense one.

    Args:
        rows, cols: [P], the place of each entry; one may be there several times, and then counts
            as often.
        vals: [P], the entries, of the dtype of `mat`.
        size: (M, N), of the sparse matrix.
        mat: [N, C] floating.
        is_sorted, cuda_spmm_alg: not looked at.

    Raises:
        ValueError: lengths, dtypes or devices differ, or a place lies outside the matrix.
    """
    if len(vals) != len(rows):
        raise ValueError(f"vals has {len(vals)} entries and rows {len(rows)}; wanted as many")
    if (vals.dtype, vals.device) != (mat.dtype, mat.device):
        raise ValueError(
            f"vals is {vals.dtype} on {vals.device} and mat is {mat.dtype} on {mat.device}; wanted "
            "the same dtype and device"
        )
    rows, cols = _places(rows, cols, size, mat)
    numbers = torch.arange(len(rows), device=rows.device)
    # Read by a rulebook, since the gradient of mat[cols] would add up in no fixed order on a GPU.
    order = cols.argsort(stable=True)
    read = Rulebook.sending(order, cols[order], mat.shape[0], len(cols)).T.reduce(mat, "sum")
    order = rows.argsort(stable=True)
    gather = Rulebook.sending(numbers[order], rows[order], size[0], len(rows))
    return gather.reduce(read * vals.unsqueeze(1), "sum")


def spmm_average(
    rows: Tensor, cols: Tensor, size: Sequence[int], mat: Tensor, cuda_spmm_alg: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """A product in which each row of the sparse matrix is the mean of what it reads.

    Args:
        rows, cols, size, mat: as `spmm` takes them.
        cuda_spmm_alg: not looked at.

    Returns:
        The product [M, C]; the places [2, P] int64, sorted by row; the entries [P], one over the
        number of places in a row.
    """
    rows, cols = _places(rows, cols, size, mat)
    rows, order = rows.sort(stable=True)
    cols = cols[order]
    counts = torch.bincount(rows, minlength=size[0])
    vals = (1 / counts[rows].to(torch.float64)).to(mat.dtype)
    return spmm(rows, cols, vals, size, mat), torch.stack([rows, cols]), vals


class MinkowskiSPMMFunction:
    """`spmm` where an autograd Function is wanted."""

    @staticmethod
    def apply(
        rows: Tensor,
        cols: Tensor,
        vals: Tensor,
        size: Sequence[int],
        mat: Tensor,
        cuda_spmm_alg: int = 1,
    ) -> Tensor:
        """[M, C]; arguments as `spmm` takes them."""
        return spmm(rows, cols, vals, size, mat)


class MinkowskiSPMMAverageFunction:
    """`spmm_average` where an autograd Function is wanted."""

    @staticmethod
    def apply(
        rows: Tensor, cols: Tensor, size: Sequence[int], mat: Tensor, cuda_spmm_alg: int = 1
    ) -> Tensor:
        """[M, C]; arguments as `spmm_average` takes them."""
        return spmm_average(rows, cols, size, mat)[0]


def _places(rows: Tensor, cols: Tensor, size: Sequence[int], mat: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns as int64 on the device of `mat`, inside the matrix."""
    if len(rows) != len(cols):
        raise ValueError(f"rows has {len(rows)} entries and cols {len(cols)}; wanted as many")
    if mat.ndim != 2 or mat.shape[0] != size[1]:
        raise ValueError(
            f"mat is {list(mat.shape)} and size {list(size)}; wanted a matrix of {size[1]} rows"
        )
    for name, places, count in (("rows", rows, size[0]), ("cols", cols, size[1])):
        if places.device != mat.device:
            raise ValueError(f"{name} is on {places.device} and mat on {mat.device}; wanted one")
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < count:
            raise ValueError(
                f"{name} reaches from {int(places.min())} to {int(places.max())}; wanted places "
                f"from 0 to {count - 1}, as size {list(size)} says"
            )
    return rows.long(), cols.long()
