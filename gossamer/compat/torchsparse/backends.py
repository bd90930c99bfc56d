"""Settings of TorchSparse's GPU kernels, which programs read and write.

What is computed here does not follow from them: float32 products have the precision that torch is
set to (`torch.set_float32_matmul_precision`), and no table can run full.
"""

import torch

benchmark = False
device_capability = 0
allow_tf32 = False
allow_fp16 = True
hash_rsv_ratio = 2


def init() -> None:
    """Set all to the defaults for this machine; without a GPU there is nothing to ask for."""
    known = torch.cuda.get_device_capability() if torch.cuda.is_available() else (0, 0)
    capability = known[0] * 100 + known[1] * 10
    globals().update(
        benchmark=False,
        device_capability=capability,
        allow_tf32=capability >= 800,
        allow_fp16=capability >= 750 or not capability,
        hash_rsv_ratio=2,
    )
