"""A state_dict of one library, as another library would have written it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from gossamer.convert import metadata, undoing
from gossamer.convert.detection import detect, grid_layout, looks_dense
from gossamer.convert.formats import Format, known
from gossamer.convert.layouts import Turn
from gossamer.convert.options import Options, fits
from gossamer.convert.plan import Plan, Row, Step, planned
from gossamer.convert.report import Changed, Notes, Report


@dataclass(frozen=True)
class Source:
    """Where a state_dict comes from.

    Args:
        name: its format.
        written: the format, its layout that of the entries.
        undo: the format that leads back to these very entries.
    """

    name: str
    written: Format
    undo: str


def convert_state_dict(
    state: Mapping[str, object],
    source: str | None,
    target: str,
    options: Options | None = None,
) -> tuple[dict[str, object], Report]:
    """The entries of a model as another library would have written them, and what was changed.

    Numbers are moved and never computed with: dtypes stay, and `report.back` says how to have the
    same bits again.

    Args:
        state: entries by key. Those that are no tensors stay as they are.
        source: a name of FORMATS, or None to detect it.
        target: a name of FORMATS.
        options: what the entries do not say.

    Raises:
        ValueError: no such format; the source can't be told; nothing in it is a sparse
            convolution; or what `plan.planned` raises. The message says what to do.
    """
    new, report, _ = converted(state, source, target, options or Options())
    return new, report


def converted(
    state: Mapping[str, object], source: str | None, target: str, options: Options
) -> tuple[dict[str, object], Report, Plan]:
    """The same, and the plan by which it was done."""
    wanted = known(target, "target")
    options.check(state)
    notes = Notes()
    origin = resolve(state, source, options, notes)
    plan = planned(state, origin.written, wanted, options)
    if not any(step.kernel for step in plan.steps.values()):
        raise ValueError(_nothing(state, origin, options))
    if plan.names.note:
        notes.say(plan.names.note)
    new = metadata.carried(state, plan.applied(state), plan, wanted)
    _advise(plan, origin.written, wanted, options, notes)
    changed = tuple(_changes(state, new, plan))
    report = Report(
        origin.name,
        target,
        changed,
        tuple(plan.left.items()),
        len(state) - len(changed),
        tuple(notes.said),
        undoing.back(new, plan, origin.undo, target),
    )
    return new, report, plan


def resolve(
    state: Mapping[str, object], source: str | None, options: Options, notes: Notes
) -> Source:
    """The format of a state_dict, as said or detected, and the layout that it has in it.

    Raises:
        ValueError: no such format, or it can't be told.
    """
    if source is None:
        detection = detect(state, options)
        if detection.format is None:
            raise ValueError(
                f"this can come from {' or '.join(detection.candidates)}: {detection.why}; say "
                "which with --from"
            )
        sure = "" if detection.certain else "probably "
        notes.say(f"source: {sure}{detection.format} ({detection.why})")
        source = detection.format
    written = known(source, "source")
    if source == "mmdet3d":
        return _mmdet3d(state, options)
    if source == "spconv2":
        if _grid(state, options) != "KRSC":
            notes.say("weights are [*kernel, out, in], as spconv 2.0 wrote them")
            return Source(source, replace(written, layout="RSKC"), "spconv2")
    if source == "spconv1" and _grid(state, options) == "RSKC":
        notes.say(
            "taken as [*kernel, in, out], though norms or biases say [*kernel, out, in], which "
            "spconv 2.0 wrote: --from spconv2"
        )
    return Source(source, written, source)


def _mmdet3d(state: Mapping[str, object], options: Options) -> Source:
    """mmdetection3d writes what its backend does: spconv 2, mmcv, TorchSparse 1.4, Minkowski."""
    if any(key.rpartition(".")[2] == "kernel" for key in state):
        found = detect(state, options).format
        name = found if found == "minkowski" else "torchsparse14"
        return Source("mmdet3d", known(name, "source"), name)
    layout = _grid(state, options) or "RSCK"
    name = {"KRSC": "mmdet3d", "RSCK": "spconv1", "RSKC": "spconv2"}[layout]
    return Source("mmdet3d", replace(known("mmdet3d", "source"), layout=layout), name)


def _grid(state: Mapping[str, object], options: Options) -> str | None:
    """Which of spconv's layouts the weights have, by what shows; None if nothing does."""
    tensors = {
        key: value
        for key, value in state.items()
        if isinstance(value, Tensor) and not fits(key, options.skip)
    }
    weights = [key for key in tensors if key.rpartition(".")[2] == "weight"]
    chosen = [key for key in weights if not options.only or fits(key, options.only)]
    grids = [key for key in chosen if 4 <= tensors[key].ndim <= 6]
    likely = [key for key in grids if not looks_dense(tensors[key].shape)]
    metadata = getattr(state, "_metadata", None)
    return grid_layout(tensors, likely, metadata)[0] if likely else "KRSC"


def _nothing(state: Mapping[str, object], origin: Source, options: Options) -> str:
    try:
        detection = detect(state, options)
        looks = f"; it looks like {' or '.join(detection.candidates)}"
    except ValueError:
        looks = ""
    return (
        f"no sparse convolution of {origin.name} among {len(state)} entries: none called "
        f"{origin.written.parameter} with its shape{looks}"
    )


def _advise(plan: Plan, source: Format, target: Format, options: Options, notes: Notes) -> None:
    """What the numbers alone do not carry over."""
    turns = [step.turn for step in plan.steps.values() if isinstance(step.turn, Turn)]
    kernels = [turn.kernel for turn in turns if turn.source != "linear"]
    libraries = {source.layout, target.layout}
    # The others write whether a layer of one tap is a plain one.
    untold = source.layout not in ("torchsparse", "minkowski") and not options.strided
    as_laid_out = len(libraries) > 1 and libraries & {"KRSC", "RSKC"}
    if untold and as_laid_out and any(kernel.plain for kernel in kernels):
        notes.say(
            "layers of one tap are taken for plain ones (stride 1, no groups, no inverse), whose "
            "numbers spconv 2 takes as they lie; name others with --strided"
        )
    if target.marks:
        notes.say(
            "each layer's version is marked 2, by which mmdetection3d knows the layout of spconv 2"
        )
    if any(k.taps % 2 == 0 and k.taps > 8 for k in kernels) and len(libraries) > 1:
        notes.say(
            "kernels wider than 2 with an even number of taps are anchored differently by these "
            "libraries: see docs/convert.md"
        )


def _changes(state: Mapping[str, object], new: Mapping[str, object], plan: Plan):
    for key, step in plan.steps.items():
        before = state[key]
        after = new[step.to] if step.to is not None else None
        if step.to == key and after is before:
            continue
        size = step.kernel.size if step.kernel else None
        yield Changed(key, step.to, _shape(before), _shape(after), size, _told(key, step))


def _told(key: str, step: Step) -> str:
    if step.to is None:
        return "left out"
    if isinstance(step.turn, Turn):
        return f"{step.turn.source} to {step.turn.target}" if step.turn.moves else "renamed"
    if isinstance(step.turn, Row):
        return "as a row" if step.turn.row else "as a vector"
    return "renamed"


def _shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
