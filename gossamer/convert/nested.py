"""What a checkpoint holds beside a model: where its state_dicts are, and its optimizers."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gossamer.convert.norms import STATISTIC
from gossamer.convert.plan import Plan

Path = tuple[Any, ...]
DEPTH = 4
# What training loops call the model, the first of these first.
MODELS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
BUFFERS = (STATISTIC, "running_var", "num_batches_tracked")


def state_dicts(checkpoint: object) -> list[Path]:
    """Where mappings from names to tensors are, the model's own first.

    Raises:
        ValueError: it holds a whole module and no state_dict, or nothing of the kind.
    """
    found = [path for path, value in _walk(checkpoint) if _is_state(value)]
    if not found:
        modules = [path for path, value in _walk(checkpoint) if isinstance(value, nn.Module)]
        if modules:
            raise ValueError(
                f"it holds a whole module ({_named(modules[0])}) and no state_dict; save "
                "module.state_dict() with torch.save and convert that"
            )
        raise ValueError(
            f"it holds a {type(checkpoint).__name__} without a mapping from names to tensors; "
            "wanted a state_dict, or a dict that has one under state_dict, model_state, model, net"
        )
    ranks = {name: rank for rank, name in enumerate(MODELS)}

    def rank(path: Path) -> tuple[bool, int]:
        has = any(_may_convolve(*entry) for entry in at(checkpoint, path).items())
        return not has, ranks.get(path[-1], len(ranks)) if path else -1

    return sorted(found, key=rank)


def _may_convolve(key: str, value: object) -> bool:
    kernel = key.rpartition(".")[2] == "kernel"
    return isinstance(value, Tensor) and value.ndim > (1 if kernel else 2)


def optimizers(checkpoint: object) -> list[Path]:
    """Where the states of optimizers are."""
    return [path for path, value in _walk(checkpoint) if _is_optimizer(value)]


def at(checkpoint: Any, path: Path) -> Any:
    """The part of a checkpoint at a place."""
    for step in path:
        checkpoint = checkpoint[step]
    return checkpoint


def replaced(checkpoint: Any, path: Path, value: object) -> Any:
    """The checkpoint with another part at a place; it is written into where it can be."""
    if not path:
        return value
    at(checkpoint, path[:-1])[path[-1]] = value
    return checkpoint


def removed(checkpoint: Any, path: Path) -> None:
    """Take a part out of a checkpoint."""
    del at(checkpoint, path[:-1])[path[-1]]


def named(path: Path) -> str:
    """A place in words."""
    return _named(path)


def _named(path: Path) -> str:
    return ".".join(map(str, path)) or "the file itself"


def _walk(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    yield path, value
    if len(path) >= DEPTH or _is_state(value) or _is_optimizer(value):
        return
    if isinstance(value, MutableMapping):
        for key, inside in value.items():
            yield from _walk(inside, (*path, key))
    elif isinstance(value, list):
        for index, inside in enumerate(value):
            yield from _walk(inside, (*path, index))


def _is_state(value: object) -> bool:
    if not isinstance(value, MutableMapping) or _is_optimizer(value):
        return False
    tensors = sum(isinstance(inside, Tensor) for inside in value.values())
    return 2 * tensors > len(value) and all(isinstance(key, str) for key in value)


def _is_optimizer(value: object) -> bool:
    return isinstance(value, Mapping) and {"state", "param_groups"} <= set(value)


@dataclass(frozen=True)
class Follower:
    """Carries an optimizer's state through the conversion of its model.

    Args:
        plan: the conversion.
        state: the model's entries before it.
    """

    plan: Plan
    state: Mapping[str, object]

    def follow(self, optimizer: Any) -> str:
        """Turn what an optimizer keeps of turned weights; "" if it could, or why it could not."""
        if any(step.to is None for step in self.plan.steps.values()):
            return "entries of the model were left out, and it counts parameters"
        groups = optimizer["param_groups"]
        if not all(isinstance(group, Mapping) and "params" in group for group in groups):
            return "it is not laid out as those of torch.optim are"
        if all("param_names" in group for group in groups):
            names = [name for group in groups for name in group["param_names"]]
        else:
            names = self._parameters()
        ids = [number for group in groups for number in group["params"]]
        kept = {ids[at]: at for at in range(len(ids))}
        if len(names) != len(ids) or any(name not in self.plan.steps for name in names):
            return f"it has {len(ids)} parameters, and the model {len(names)}"
        turned = {}
        for number, values in optimizer["state"].items():
            name = names[kept[number]] if number in kept else None
            new = self._turned(name, values)
            if new is None:
                return f"what it keeps of {name} has not the shape of {name}"
            turned[number] = new
        optimizer["state"] = turned
        for group in groups:
            if "param_names" in group:
                group["param_names"] = [self.plan.steps[n].to for n in group["param_names"]]
        return ""

    def _parameters(self) -> list[str]:
        """The model's parameters in their order, which is how an optimizer numbers them."""
        seen, names = set(), []
        for key, value in self.state.items():
            if not isinstance(value, Tensor) or key.rpartition(".")[2] in BUFFERS:
                continue
            place = (value.data_ptr(), value.shape, value.stride())
            if value.is_floating_point() and (place not in seen or not value.numel()):
                seen.add(place)
                names.append(key)
        return names

    def _turned(self, name: str | None, values: Any) -> Any:
        if name is None or not isinstance(values, Mapping):
            return None
        weight, turn = self.state[name], self.plan.steps[name].turn
        assert isinstance(weight, Tensor)
        new = {}
        for what, value in values.items():
            shaped = isinstance(value, Tensor) and value.numel() != 1
            if shaped and value.shape != weight.shape:
                return None
            follows = turn is not None and isinstance(value, Tensor) and value.shape == weight.shape
            new[what] = turn(value) if turn is not None and follows else value
        return new
