"""The state of a run between two steps, in a file, so that a killed run can go on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gossamer.errors import CheckpointError
from gossamer.training.checkpoint import load_weights, read, write

FILE = "resume.safetensors"
MODEL, OPTIMIZER = "model.", "optimizer."


@dataclass(frozen=True)
class Spent:
    """What the steps so far have cost.

    Args:
        seconds: by the clock on the wall.
        cpu_seconds: of all cores together.
        voxels: that went through the network, forward and backward.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    voxels: int = 0


def save(path: Path, model: nn.Module, optimizer: Optimizer, about: dict[str, Any]) -> None:
    """Write weights, the optimizer's memory and a JSON value, whole or not at all."""
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for number, memory in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{number}.{name}": tensor for name, tensor in memory.items()}
    write(path, tensors, about)


def restore(path: Path, model: nn.Module, optimizer: Optimizer, same: dict[str, Any]) -> dict:
    """Fill model and optimizer from what `save` wrote, and give back its JSON value.

    Args:
        path: the file.
        model: the one that was saved.
        optimizer: of its parameters.
        same: entries that the JSON value must have too.

    Raises:
        CheckpointError: the file is damaged, or of another run or model.
    """
    tensors, about = read(path)
    ours, theirs = (json.loads(json.dumps(entries)) for entries in (same, about))
    for name, value in _leaves(ours).items():
        if (other := _leaves(theirs).get(name)) != value:
            raise CheckpointError(
                f"{path} was saved by a run whose {name} is {other}; here it is {value}; resume "
                "with the settings and the data it was started with, or choose another folder"
            )
    load_weights(model, _under(MODEL, tensors), path)
    memory: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under(OPTIMIZER, tensors).items():
        number, entry = name.split(".")
        memory.setdefault(int(number), {})[entry] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": memory})
    return about


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Every entry of nested dictionaries, by its path: {"recipe.width": 0.5}."""
    if not isinstance(value, dict):
        return {name: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _leaves(inner, f"{name}.{key}" if name else key)
    return found
