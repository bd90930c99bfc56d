"""Looking hashes up among hashes."""

from torch import Tensor

from gossamer.compat.pointcells.queries import first_rows

__all__ = ["sphashquery"]


def sphashquery(queries: Tensor, references: Tensor) -> Tensor:
    """int32 like `queries`: the row of `references` that equals it, or -1; of several the first.

    Args:
        queries: int64 hashes, of any shape.
        references: [N] int64 hashes.
    """
    return first_rows(queries.long(), references.long().reshape(-1)).int()
