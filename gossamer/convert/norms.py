"""MinkowskiEngine's batch norms, which hold torch's under `bn` and not their entries themselves."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from gossamer.convert.options import joined, module_of

STATISTIC = "running_mean"


def wrapped(keys: Iterable[str]) -> list[str]:
    """The modules that hold nothing but a batch norm called `bn`."""
    keys = list(keys)
    inside = {module_of(key) for key in keys if key.endswith(f".bn.{STATISTIC}")}
    outer = [module.removesuffix(".bn") for module in dict.fromkeys(map(module_of, keys))]
    candidates = [module for module in dict.fromkeys(outer) if f"{module}.bn" in inside]
    return [module for module in candidates if _holds_only_bn(module, keys)]


def _holds_only_bn(module: str, keys: list[str]) -> bool:
    return all(key.startswith(f"{module}.bn.") for key in keys if key.startswith(f"{module}."))


def beside(module: str) -> list[str]:
    """What the norm behind a layer is called by custom: 0 and 1, conv2 and bn2 or norm2."""
    outer, _, name = module.rpartition(".")
    if name.isdigit():
        return [joined(outer, str(int(name) + 1))]
    return [joined(outer, name.replace("conv", norm)) for norm in ("bn", "norm") if "conv" in name]


def norm_of(module: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The scale of the norm behind a layer: by its name, else what comes next."""
    for norm in beside(module):
        if (scale := tensors.get(f"{norm}.weight")) is not None and scale.ndim == 1:
            return scale
    keys = list(tensors)
    places = [at for at, key in enumerate(keys) if module_of(key) == module]
    behind = tensors[keys[places[-1] + 1]] if places[-1] + 1 < len(keys) else None
    return behind if behind is not None and behind.ndim == 1 else None


def behind_convolutions(tensors: Mapping[str, Tensor], convolutions: Iterable[str]) -> list[str]:
    """The batch norms behind sparse convolutions, by name or by the order of the entries."""
    sparse, behind = set(convolutions), False
    by_name = {norm for key in sparse for norm in beside(module_of(key))}
    found = []
    for key, tensor in tensors.items():
        if tensor.ndim > 1:
            behind = key in sparse if key.endswith((".weight", ".kernel")) else behind
        elif key.endswith(f".{STATISTIC}") and (behind or module_of(key) in by_name):
            found.append(module_of(key))
    return found
