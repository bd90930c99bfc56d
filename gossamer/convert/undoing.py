"""The conversion that undoes one, and what must be said so that it does."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from gossamer.convert import finding, norms
from gossamer.convert.formats import FORMATS
from gossamer.convert.layouts import Kernel, Size, Turn
from gossamer.convert.naming import KEEP
from gossamer.convert.options import Options, size_of
from gossamer.convert.plan import Plan, Step
from gossamer.convert.report import Back


def back(state: Mapping[str, object], plan: Plan, source: str, target: str) -> Back:
    """How to undo a conversion.

    Args:
        state: the result.
        plan: the conversion.
        source, target: its formats; `source` one that a conversion can lead to.
    """
    sparse = {
        step.to: step.kernel
        for step in plan.steps.values()
        if step.kernel and step.to is not None and _target(step) != "linear"
    }
    found = plan.names.found if plan.names.renaming else None
    options = Options(names=found.scheme if found else KEEP)
    axes = {len(kernel.size) for kernel in sparse.values() if kernel.size}
    options = replace(options, ndim=axes.pop() if len(axes) == 1 else 3)
    options = replace(options, kernels=_kernels(sparse, options))
    if target in ("native", "torchsparse14", "spconv1", "spconv2", "mmdet3d"):
        strided = [k for k, kernel in sparse.items() if kernel.taps == 1 and not kernel.plain]
        options = replace(options, strided=tuple(strided))
    options = replace(options, skip=_skip(state, plan, target))
    if _shown(state, target, options) != set(sparse):
        options = replace(options, only=tuple(sparse))
    if FORMATS[source].wraps_norms and not FORMATS[target].wraps_norms:
        options = replace(options, norms=_norms(state, plan))
    return Back(target, source, options)


def _target(step: Step) -> str:
    return step.turn.target if isinstance(step.turn, Turn) else ""


def _kernels(sparse: Mapping[str, Kernel], options: Options) -> tuple[tuple[str, Size], ...]:
    """The kernels whose size the number of taps does not tell."""
    return tuple(
        (key, kernel.size)
        for key, kernel in sparse.items()
        if kernel.size and size_of(key, kernel.taps, options) != kernel.size
    )


def _skip(state: Mapping[str, object], plan: Plan, target: str) -> tuple[str, ...]:
    """What looks like MinkowskiEngine's batch norms in the result and is not."""
    if not FORMATS[target].wraps_norms:
        return ()
    ours = {plan.modules[module] for module in plan.wrapped}
    return tuple(f"{module}.bn" for module in norms.wrapped(state) if module not in ours)


def _shown(state: Mapping[str, object], target: str, options: Options) -> set[str]:
    """The sparse convolutions that the result shows without being told."""
    try:
        return set(finding.convolutions(state, FORMATS[target], options).kernels)
    except ValueError:
        return set()


def _norms(state: Mapping[str, object], plan: Plan) -> tuple[str, ...] | None:
    """The batch norms that were wrapped, where they are not the ones that would be."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    were = {plan.modules[f"{module}.bn"] for module in plan.unwrapped}
    sparse = [step.to for step in plan.steps.values() if step.kernel and step.to is not None]
    if were == set(norms.behind_convolutions(tensors, sparse)):
        return None
    return tuple(sorted(were))
