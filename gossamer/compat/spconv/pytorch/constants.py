"""What `spconv.pytorch.constants` says about torch."""

import torch

TORCH_HAS_AMP = True


def remove_plus(text: str) -> str:
    """`text` up to the first plus sign."""
    return text.split("+", 1)[0]


def remove_dotdev(text: str) -> str:
    """`text` up to ".dev"."""
    return text.split(".dev", 1)[0]


def is_amp_enabled() -> bool:
    """Whether autocast is on, on any kind of device."""
    return any(torch.is_autocast_enabled(device) for device in ("cuda", "cpu"))


PYTORCH_VERSION = [
    int("".join(filter(str.isdigit, part)) or 0)
    for part in remove_dotdev(remove_plus(torch.__version__)).split(".")
]
