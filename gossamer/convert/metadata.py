"""The versions that torch keeps of every module beside a state_dict, carried along."""

from collections import OrderedDict
from collections.abc import Mapping

from gossamer.convert.formats import Format
from gossamer.convert.layouts import Turn
from gossamer.convert.options import module_of
from gossamer.convert.plan import Plan

SPCONV2 = 2  # what mmdetection3d writes for a layer whose weight is [C_out, *k, C_in]


def carried(
    state: Mapping[str, object], new: dict[str, object], plan: Plan, target: Format
) -> dict[str, object]:
    """The new entries with the metadata of the old ones, under the new modules' paths."""
    old = getattr(state, "_metadata", None)
    if old is None and not target.marks:
        return OrderedDict(new) if isinstance(state, OrderedDict) else new
    renamed = plan.names.renaming is not None
    metadata = OrderedDict({"": {"version": 1}}) if old is None else OrderedDict()
    for module, versions in (old or {}).items():
        path = plan.modules.get(module, None if renamed and module else module)
        if path is not None:
            metadata[f"{path}.bn" if module in plan.wrapped else path] = dict(versions)
    for step in plan.steps.values():
        if isinstance(step.turn, Turn) and step.to is not None:
            versions = metadata.get(module_of(step.to), {})
            linear = step.turn.target == "linear"
            if target.marks and not linear:
                metadata[module_of(step.to)] = {**versions, "version": SPCONV2}
            elif versions.get("version") == SPCONV2:
                metadata[module_of(step.to)] = {**versions, "version": 1}
    result = OrderedDict(new)
    result._metadata = metadata  # type: ignore[attr-defined]
    return result
