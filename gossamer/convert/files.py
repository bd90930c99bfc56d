"""Checkpoints as files: read without running what they hold, and written whole or not at all."""

import pickle
import re
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gossamer.errors import FormatError
from gossamer.io.atomic import written_beside

SAFE = ".safetensors"
WRITTEN = (".pth", ".pt", SAFE)
# What torch says of a pickle that asks for more than tensors and plain values.
REFUSED = re.compile(r"(?:GLOBAL|class|global) `?([\w.]+)")


def read(path: Path, unsafe: bool = False) -> tuple[Any, dict[str, str]]:
    """What a checkpoint holds, and the texts that a .safetensors file has beside its tensors.

    Args:
        path: a file that torch.save wrote, or a .safetensors file.
        unsafe: whether a pickle may run code.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: it is damaged, no checkpoint, or asks to run code and may not.
        ImportError: the package that it needs is not installed.
    """
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint {path}")
    if not path.is_file():
        raise FormatError(f"{path} is no file; wanted a .pth, .pt or .safetensors file")
    return _read_safe(path) if path.suffix == SAFE else (_read_pickle(path, unsafe), {})


def write(path: Path, checkpoint: Any, texts: Mapping[str, str]) -> None:
    """Write a checkpoint in the format that the suffix of `path` names, whole or not at all.

    Args:
        path: a .pth, .pt or .safetensors file.
        checkpoint: anything for torch.save; tensors by name for .safetensors.
        texts: beside the tensors, only in .safetensors.

    Raises:
        ValueError: another suffix.
        OSError: the folder can't be written.
    """
    check_suffix(path)
    with written_beside(path) as unfinished:
        if path.suffix == SAFE:
            save = _safetensors("safetensors.torch").save
            unfinished.write_bytes(save(checkpoint, dict(texts) or None))
        else:
            torch.save(checkpoint, unfinished)


def check_suffix(path: Path) -> None:
    """See that a file can be written in a format that its name says.

    Raises:
        ValueError: it can't.
    """
    if path.suffix not in WRITTEN:
        raise ValueError(f"out is {path}; wanted a name that ends in {', '.join(WRITTEN)}")


def _read_pickle(path: Path, unsafe: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=not unsafe)
    except (ImportError, AttributeError) as error:
        raise FormatError(
            f"{path} holds objects of a program that is not installed ({error}); install it, or "
            "save the model's state_dict alone where it is"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001, a damaged pickle raises whatever it likes
        raise FormatError(_why(path, error)) from None


def _why(path: Path, error: Exception) -> str:
    told = str(error)
    if "TorchScript" in told:
        return f"{path} is a TorchScript program and no checkpoint; save its state_dict()"
    asks = REFUSED.search(told) if isinstance(error, pickle.UnpicklingError) else None
    if asks and "nsupported" in told:
        return (
            f"{path} is a pickle that asks for {asks[1]}, and such a file can run any code; if you "
            "trust whoever wrote it, say --unsafe"
        )
    size = path.stat().st_size
    reason = f" ({type(error).__name__})" if size else ""
    return (
        f"{path} ({size:,} bytes) cannot be read as a checkpoint{reason}; it may be truncated, or "
        "another kind of file; wanted one that torch.save wrote, or .safetensors"
    )


def _read_safe(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    safe_open = _safetensors("safetensors").safe_open
    try:
        with safe_open(str(path), "pt") as file:
            texts = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, texts
    except Exception as error:  # noqa: BLE001, its own exception is no public class
        raise FormatError(
            f"{path} ({path.stat().st_size:,} bytes) is no sound .safetensors file ({error}); it "
            "may be truncated, or another kind of file"
        ) from None


def _safetensors(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f".safetensors files need the package safetensors, which cannot be imported ({error}); "
            "install it with: pip install gossamer[train]"
        ) from error
