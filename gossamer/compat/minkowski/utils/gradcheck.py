"""torch's check of gradients, for Functions."""

from collections.abc import Sequence
from typing import Any

from torch.autograd.gradcheck import gradcheck as check


def gradcheck(
    func: Any,
    inputs: Sequence,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    check_sparse_nnz: bool = False,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
) -> bool:
    """Whether the gradients of `func.apply` are those that differences give.

    Args:
        func: what has `apply`.
        inputs: its arguments; those of float64 that require gradients are checked.
        check_sparse_nnz: torch's `masked`.
        eps, atol, rtol, raise_exception, nondet_tol, check_undefined_grad, check_grad_dtypes: as
            torch.autograd.gradcheck takes them.
    """
    return check(
        lambda *arguments: func.apply(*arguments),
        tuple(inputs),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        masked=check_sparse_nnz,
    )
