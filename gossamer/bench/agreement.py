"""Whether two contenders computed the same; without that their times mean nothing."""

import torch
from torch import Tensor

from gossamer.bench.cases import Values

# Relative, in the Euclidean norm of a tensor. Sums of thousands of float32 products in another
# order differ by 2e-6 or less.
TOLERANCE = 1e-5


class DisagreementError(RuntimeError):
    """Two contenders computed different things, so their times can't be compared."""


def check_agreement(what: str, ours: Values, theirs: Values, tolerance: float) -> None:
    """Nothing, when the tensors of both are the same up to `tolerance`.

    Args:
        what: for the message: the problem and who else solved it.
        ours, theirs: named tensors; whole numbers must be equal.
        tolerance: relative, in the Euclidean norm; 0 wants the same bits.

    Raises:
        DisagreementError: they are not.
    """
    if ours.keys() != theirs.keys():
        names = ", ".join(sorted(ours.keys() ^ theirs.keys()))
        raise DisagreementError(f"{what}: only one of the two has {names}")
    for name, wanted in ours.items():
        found = theirs[name]
        if wanted.shape != found.shape:
            shapes = f"{tuple(wanted.shape)} and {tuple(found.shape)}"
            raise DisagreementError(f"{what}: {name} have the shapes {shapes}")
        error = difference(wanted, found)
        if not error <= tolerance:
            raise DisagreementError(
                f"{what}: {name} differ by {error:.2g} of their size; wanted at most {tolerance:g}"
            )


def difference(a: Tensor, b: Tensor) -> float:
    """|a - b| / |a| in the Euclidean norm; 0 where both have the same bits."""
    if torch.equal(a, b):
        return 0.0
    if not a.is_floating_point():
        return float("inf")
    a, b = a.double(), b.double()
    return float((a - b).norm() / a.norm())
