"""The precisions that are measured, and what errors they may make."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """How products are computed.

    Args:
        name: what it is called.
        dtype: of the factors.
        setting: of torch.set_float32_matmul_precision.
        product: relative error of a product, the worst.
        stored: relative error of a sum that is stored.
    """

    name: str
    dtype: torch.dtype
    setting: str
    product: float
    stored: float

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """A block in which torch and gossamer compute with it."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.setting)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


_SINGLE = 2.0**-24
FP16 = Precision("fp16", torch.float16, "highest", 0.0, 2.0**-11)
BF16 = Precision("bf16", torch.bfloat16, "highest", 0.0, 2.0**-8)
# Numbers are cut to 10 bits, each wrong by up to the last of them.
TF32 = Precision("tf32", torch.float32, "high", 2.0**-9, _SINGLE)
FP32 = Precision("fp32", torch.float32, "highest", 2.0**-20, _SINGLE)
PRECISIONS = (FP16, BF16, TF32, FP32)
SUM = 64 * _SINGLE
"""Of a sum, relative to the sum of the sizes of what is added: thousands of roundings, most of
which cancel."""
