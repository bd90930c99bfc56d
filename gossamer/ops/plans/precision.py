"""How products of float32 are computed, as torch's own setting and the GPU say."""

import torch

THREE_PRODUCTS = ("ampere", "hopper", "blackwell")
"""Families on which three TF32 products beat one of float32, and err as little: 2e-7."""
NO_TF32 = ("cdna", "rdna", "interpreter")


def precision(family: str, dtype: torch.dtype, setting: str) -> str:
    """What Triton calls the precision: "ieee", "tf32" or "tf32x3".

    Args:
        family: of the GPU.
        dtype: of the factors; AMD's compiler refuses all but "ieee" for half types.
        setting: of torch.set_float32_matmul_precision.
    """
    if dtype != torch.float32 or family in NO_TF32:
        return "ieee"
    if setting != "highest":
        return "tf32"
    return "tf32x3" if family in THREE_PRODUCTS else "ieee"


def why(found: str, setting: str) -> str:
    """The reason for a precision of float32, in a sentence."""
    if found == "tf32":
        return f"torch.set_float32_matmul_precision is {setting!r}: products of 11 bits, err 3e-4"
    if found == "tf32x3":
        return "three TF32 products err as little as one of float32, and are faster here"
    return "TF32 is no faster than float32 here, or there is none"


def torch_setting() -> str:
    """The setting of torch.set_float32_matmul_precision that holds now."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        # Set through torch's newer names, which the older one then refuses to speak for.
        return "high" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "highest"
