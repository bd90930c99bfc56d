"""What a report of a problem should say about the machine."""

import platform
import sys

import torch

from gossamer.version import __version__


def print_diagnostics() -> None:
    """Print the versions of the system, Python, torch, CUDA and gossamer, and the GPUs."""
    lines = [
        "==========System==========",
        platform.platform(),
        sys.version,
        "==========Pytorch==========",
        torch.__version__,
        f"torch.cuda.is_available(): {torch.cuda.is_available()}",
        f"torch.version.cuda: {torch.version.cuda}",
        *(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())),
        "==========MinkowskiEngine==========",
        f"0.5.4, as gossamer {__version__} has it",
    ]
    print("\n".join(lines))  # noqa: T201
