"""The file in which choices are kept: (name_to_group, group_configs), as torch.save writes it."""

import os
from pathlib import Path

import torch

from gossamer.compat.torchsparse.nn.functional.conv.conv_config import Dataflow
from gossamer.compat.torchsparse.tuning.configs import CHOSEN, Choice, Group

# What the one class in a file is called where upstream wrote it.
UPSTREAM = "torchsparse.nn.functional.conv.conv_config.Dataflow"
Kept = tuple[dict[str, Group], dict[Group, Choice]]


def read(file: Path) -> Kept:
    """What `write` or upstream has written; it holds no code that would run.

    Raises:
        ValueError: it is something else.
    """
    try:
        with torch.serialization.safe_globals([Dataflow, (Dataflow, UPSTREAM)]):
            names, configs = torch.load(file, weights_only=True)
        if not all(set(CHOSEN) <= set(config) for config in configs.values()):
            raise ValueError(f"a configuration lacks one of {', '.join(CHOSEN)}")
        return dict(names), dict(configs)
    # Whatever may be wrong with a file, the way out is the same.
    except Exception as error:
        why = error if isinstance(error, ValueError) else type(error).__name__
        raise ValueError(
            f"{file} is not what tune() writes ({why}); remove it, give another tune_tag, or call "
            "tune(..., force_retune=True)"
        ) from error


def write(file: Path, kept: Kept) -> None:
    """Keep it, in folders that may have to be made; who reads never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        torch.save(kept, beside)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
