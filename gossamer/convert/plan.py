"""What becomes of each entry of a state_dict, before anything is done."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from gossamer.convert import finding, naming, norms
from gossamer.convert.formats import Format
from gossamer.convert.layouts import Kernel, Turn
from gossamer.convert.options import Options, fits, joined, module_of, shapes_of

SHOWN = 6


@dataclass(frozen=True)
class Row:
    """A bias [C_out] as [1, C_out], or back.

    Args:
        row: whether it shall be a row.
    """

    row: bool

    moves = True

    def __call__(self, bias: Tensor) -> Tensor:
        """The bias, or what else has its shape."""
        return bias.reshape(1, -1) if self.row else bias.reshape(-1)


@dataclass(frozen=True)
class Step:
    """What becomes of one entry.

    Args:
        to: its key in the result; None if it is left out.
        turn: what is done with its numbers, if anything.
        kernel: of a sparse convolution's weight.
    """

    to: str | None
    turn: Turn | Row | None = None
    kernel: Kernel | None = None


@dataclass(frozen=True)
class Plan:
    """What becomes of all entries.

    Args:
        steps: by the key in the source, in its order.
        modules: the new path of every module with entries.
        left: weights that are none of sparse convolutions, and why.
        names: how modules are renamed.
        unwrapped, wrapped: batch norms of the source that lose, and that get, an inner `bn`.
    """

    steps: Mapping[str, Step]
    modules: Mapping[str, str]
    left: Mapping[str, str]
    names: naming.Names
    unwrapped: tuple[str, ...]
    wrapped: tuple[str, ...]

    def applied(self, state: Mapping[str, object]) -> dict[str, object]:
        """The result's entries; what was tied is tied again."""
        result, done = {}, {}
        for key, value in state.items():
            step = self.steps[key]
            if step.to is None:
                continue
            if step.turn is not None and step.turn.moves and isinstance(value, Tensor):
                place = (value.data_ptr(), value.stride(), value.shape, value.dtype, step.turn)
                tied = value.numel() > 0 and value.device.type != "meta"
                turned = done.get(place) if tied else None
                value = done[place] = turned if turned is not None else _turned(value, step.turn)
            result[step.to] = value
        return result


def _turned(value: Tensor, turn: Turn | Row) -> Tensor:
    new = turn(value.detach())
    return nn.Parameter(new, value.requires_grad) if isinstance(value, nn.Parameter) else new


def planned(state: Mapping[str, object], source: Format, target: Format, options: Options) -> Plan:
    """What becomes of each entry of a state_dict.

    Args:
        state: the entries.
        source: the format, its layout that of the entries.
        target: the format wanted.
        options: what the entries do not say.

    Raises:
        ValueError: what `finding.convolutions` and `naming.named` raise; a kernel's size is not
            known and decides where its taps go; two entries would have the same key.
    """
    kept = {key: value for key, value in state.items() if not fits(key, options.drop)}
    tensors = {key: value for key, value in kept.items() if isinstance(value, Tensor)}
    found = finding.convolutions(kept, source, options)
    unwrapped = _unwrapped(tensors, source, options)
    inner = {f"{module}.bn": module for module in unwrapped}
    bare = {module: inner.get(module, module) for module in map(module_of, kept)}
    names = naming.named(bare.values(), source, target, options)
    weights = list(_weights(tensors, found, source, target, names))
    wrapped = _wrapped(tensors, [key for key, _, _ in weights], unwrapped, target, options)
    modules = {module: names.of(path) for module, path in bare.items()}
    steps = {key: Step(None) for key in state}
    for key in kept:
        steps[key] = _other(key, modules, inner, wrapped)
    for key, kernel, layouts in weights:
        parameter = "weight" if layouts[1] == "linear" else target.parameter
        turn = Turn(*layouts, kernel)
        steps[key] = Step(joined(modules[module_of(key)], parameter), turn, kernel)
        bias = joined(module_of(key), "bias")
        rows = target.row_bias and layouts[1] != "linear"
        if bias in tensors and tensors[bias].ndim == 1 + (not rows):
            steps[bias] = Step(steps[bias].to, Row(rows))
    _check_sizes(steps, options)
    _check_apart(steps)
    left = {k: why for k, why in found.left.items() if steps[k].turn is None}
    return Plan(steps, modules, left, names, tuple(unwrapped), tuple(wrapped))


def _unwrapped(tensors: Mapping[str, Tensor], source: Format, options: Options) -> list[str]:
    found = norms.wrapped(tensors) if source.wraps_norms else []
    return [m for m in found if not fits(f"{m}.bn.{norms.STATISTIC}", options.skip)]


def _wrapped(
    tensors: Mapping[str, Tensor],
    weights: list[str],
    unwrapped: list[str],
    target: Format,
    options: Options,
) -> list[str]:
    """The norms, by their paths in the source, that shall have an inner `bn`."""
    if not target.wraps_norms:
        return []
    every = [module_of(key) for key in tensors if key.endswith(f".{norms.STATISTIC}")]
    if options.norms is not None:
        patterns = options.norms
        return [module for module in every if fits(f"{module}.{norms.STATISTIC}", patterns)]
    if unwrapped:
        return [f"{module}.bn" for module in unwrapped]
    behind = norms.behind_convolutions(tensors, weights)
    return [m for m in behind if not fits(f"{m}.{norms.STATISTIC}", options.skip)]


def _other(key: str, modules: Mapping[str, str], inner: Mapping[str, str], wrapped: list[str]):
    """What becomes of an entry that is no sparse weight: another name at most."""
    module, _, name = key.rpartition(".")
    path = modules[module]
    return Step(joined(joined(path, "bn") if module in wrapped else path, name))


def _weights(tensors, found: finding.Found, source: Format, target: Format, names: naming.Names):
    """Each sparse weight, its kernel, and its layouts before and after."""
    axes = {len(kernel.size) for kernel in found.kernels.values() if kernel.size}
    point = (1,) * (axes.pop() if len(axes) == 1 else 3)
    for key, tensor in tensors.items():
        before, after = names.linear(module_of(key))
        kernel = found.kernels.get(key)
        if kernel is None and before and not after and key.endswith("weight") and tensor.ndim == 2:
            yield key, Kernel(1, point, True), ("linear", target.layout)
        elif kernel is not None:
            linear = after and kernel.taps == 1
            yield key, kernel, (source.layout, "linear" if linear else target.layout)


def _check_sizes(steps: Mapping[str, Step], options: Options) -> None:
    unknown = {
        key: step.kernel
        for key, step in steps.items()
        if step.kernel and not step.kernel.size
        if isinstance(step.turn, Turn) and step.turn.needs_size
    }
    if unknown:
        told = ", ".join(
            f"{key} with {kernel.taps}" for key, kernel in list(unknown.items())[:SHOWN]
        )
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        first, taps = next((key, kernel.taps) for key, kernel in unknown.items())
        boxes = ["x".join(map(str, size)) for size in shapes_of(taps, options.ndim)]
        listed = ", ".join(boxes[:SHOWN]) + (", ..." if len(boxes) > SHOWN else "")
        raise ValueError(
            f"how many taps along each axis is not known of {told}{more}: {taps} can be {listed}; "
            f"say which with --kernel '{first}={boxes[0]}' (* and ? stand for parts of keys), or "
            "--ndim if kernels have another number of axes"
        )


def _check_apart(steps: Mapping[str, Step]) -> None:
    seen: dict[str, str] = {}
    for key, step in steps.items():
        if step.to is not None and seen.setdefault(step.to, key) != key:
            raise ValueError(
                f"{key} and {seen[step.to]} would both be called {step.to}; leave one of them "
                "alone with --skip, or out with --drop"
            )
