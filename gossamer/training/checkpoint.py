"""A trained network in a file, with all that is needed to use it.

It is a safetensors file, so that opening it runs no code of whoever wrote it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gossamer.datasets import ADDED, Augmentation, Data
from gossamer.errors import CheckpointError
from gossamer.io.atomic import written_beside
from gossamer.models import MinkUNet
from gossamer.training.recipes import Recipe

FILE = "checkpoint.safetensors"
KEY = "gossamer"  # our entry in the file's metadata


@dataclass(frozen=True)
class Trained:
    """A network, and how to feed and read it.

    Args:
        model: from voxels to a score a class.
        recipe: how its input is made, and how it was trained.
        classes: the names of the C classes.
        codes: [C], the number that a file has for each class.
        numbering: whose numbers those are, as in Data.
    """

    model: MinkUNet
    recipe: Recipe
    classes: tuple[str, ...]
    codes: tuple[int, ...]
    numbering: str

    @classmethod
    def fresh(cls, recipe: Recipe, data: Data) -> "Trained":
        """A network that has learned nothing yet, its weights drawn by torch's generator."""
        model = MinkUNet(ADDED + len(recipe.channels), len(data.classes), recipe.width)
        return cls(model, recipe, data.classes, data.codes, data.numbering)

    def save(self, path: Path) -> None:
        """Write the network and how to use it, whole or not at all.

        Raises:
            OSError: the folder cannot be written.
            ImportError: safetensors is not installed.
        """
        about = {name: value for name, value in vars(self).items() if name != "model"}
        write(path, self.model.state_dict(), {**about, "recipe": asdict(self.recipe)})

    @classmethod
    def load(cls, path: Path) -> "Trained":
        """The network in a file, or in the file FILE of a folder, ready to predict.

        Raises:
            FileNotFoundError: there is none.
            CheckpointError: it is damaged, not ours, or of another model.
            ImportError: safetensors is not installed.
        """
        path = path / FILE if path.is_dir() else path
        tensors, about = read(path)
        try:
            recipe = _recipe(about["recipe"])
            classes, codes = tuple(about["classes"]), tuple(about["codes"])
            numbering = about["numbering"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} does not say how its network is used ({error!r}); wanted a file that "
                "gossamer train or gossamer demo wrote"
            ) from error
        model = MinkUNet(ADDED + len(recipe.channels), len(classes), recipe.width)
        load_weights(model, tensors, path)
        return cls(model.eval(), recipe, classes, codes, numbering)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Fill `model` with `tensors`, if they are its own to the last one.

    Raises:
        CheckpointError: one is missing, left over, or of another shape; the message says which.
    """
    wanted = model.state_dict()
    reshaped = [
        f"{name} is {tuple(tensor.shape)} where the model has {tuple(wanted[name].shape)}"
        for name, tensor in tensors.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    faults = {
        "missing": [name for name in wanted if name not in tensors],
        "unknown to the model": [name for name in tensors if name not in wanted],
        "of another shape": reshaped,
    }
    if any(faults.values()):
        told = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for what, names in faults.items()
            if names
        )
        raise CheckpointError(
            f"{source} is a checkpoint of another model than this {type(model).__name__}: of its "
            f"tensors {told}; load it into the model it was saved from"
        )
    model.load_state_dict(dict(tensors))


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON value into one file, whole or not at all."""
    save = _safetensors("safetensors.torch").save
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_beside(path) as unfinished:
        # Not safetensors' own save_file, which makes a file that only its owner may read.
        unfinished.write_bytes(save(whole, {KEY: json.dumps(about)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON value of a file that `write` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, or no file of ours.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}; gossamer train --out DIR makes one")
    safe_open = _safetensors("safetensors").safe_open
    try:
        with safe_open(str(path), "pt") as file:
            about = json.loads((file.metadata() or {})[KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, about
    except Exception as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is no sound checkpoint of gossamer ({error!r}); "
            "it may be truncated, or written by another program"
        ) from error


def _recipe(values: Mapping[str, Any]) -> Recipe:
    """The Recipe that `asdict` and JSON made `values` of."""
    augmentation, channels = Augmentation(**values["augmentation"]), tuple(values["channels"])
    return Recipe(**{**values, "augmentation": augmentation, "channels": channels})


def _safetensors(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"checkpoints need the package safetensors, which cannot be imported ({error}); "
            "install it with: pip install gossamer[train]"
        ) from error
