"""A checkpoint file of one library as another library's: the model, its copies, its optimizers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gossamer.convert import files, nested
from gossamer.convert.conversion import converted
from gossamer.convert.formats import FORMATS, known
from gossamer.convert.options import Options
from gossamer.convert.report import Notes, Report


@dataclass(frozen=True)
class FileReport:
    """What the conversion of a file did.

    Args:
        states: the reports of its state_dicts, by where they are in it.
        notes: what became of the rest.
    """

    states: dict[str, Report]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What to do with a file.

    Args:
        checkpoint: the file to read.
        source, target, options: as in convert_state_dict.
        out: the file to write; None to write nothing.
        unsafe: whether a pickle may run code.
    """

    checkpoint: Path
    source: str | None
    target: str
    out: Path | None
    options: Options
    unsafe: bool = False


def convert_file(request: Request) -> FileReport:
    """Convert a checkpoint, and write it whole or not at all.

    Optimizers' states of turned weights are turned too; one that does not fit is left out.

    Raises:
        FileNotFoundError, FormatError, ImportError: as files.read.
        ValueError: what convert_state_dict raises, an `out` that is the file itself, or a target
            that the format of `out` can't hold.
        OSError: `out` can't be written.
    """
    known(request.target, "target")
    out = request.out
    if out is not None:
        _check_out(request, out)
    checkpoint, texts = files.read(request.checkpoint, request.unsafe)
    notes = Notes()
    try:
        checkpoint, reports = _converted(checkpoint, request, notes)
    except ValueError as error:
        raise ValueError(f"{request.checkpoint}: {error}") from error
    if out is not None and out.suffix == files.SAFE:
        checkpoint = _flat(checkpoint, nested.state_dicts(checkpoint)[0], notes)
    elif texts and set(texts) != {"format"}:
        notes.say(f"left out, for .safetensors alone has room for it: {', '.join(texts)}")
    if out is not None:
        files.write(out, checkpoint, texts)
    return FileReport(reports, tuple(notes.said))


def _check_out(request: Request, out: Path) -> None:
    files.check_suffix(out)
    if out.exists() and request.checkpoint.exists() and out.samefile(request.checkpoint):
        raise ValueError(f"out is {out}, the checkpoint itself; choose another file")
    if FORMATS[request.target].marks and out.suffix == files.SAFE:
        raise ValueError(
            f"out is {out}; mmdetection3d knows spconv 2's layout by marks that only .pth and .pt "
            "hold, so write one of these"
        )


def _converted(checkpoint: Any, request: Request, notes: Notes) -> tuple[Any, dict[str, Report]]:
    """The checkpoint with its parts converted, and the reports of its state_dicts."""
    first, *others = nested.state_dicts(checkpoint)
    state = nested.at(checkpoint, first)
    new, report, plan = converted(state, request.source, request.target, request.options)
    follower = nested.Follower(plan, state)
    checkpoint = nested.replaced(checkpoint, first, new)
    reports = {nested.named(first): report}
    for path in others:
        try:
            again = converted(
                nested.at(checkpoint, path), report.source, request.target, request.options
            )
        except ValueError as error:
            notes.say(f"{nested.named(path)} stays as it is: {error}")
            continue
        checkpoint = nested.replaced(checkpoint, path, again[0])
        reports[nested.named(path)] = again[1]
    for path in reversed(nested.optimizers(checkpoint)):
        why = follower.follow(nested.at(checkpoint, path))
        if why:
            nested.removed(checkpoint, path)
            notes.say(f"{nested.named(path)} is left out, an optimizer's state: {why}")
        else:
            notes.say(f"{nested.named(path)}: what the optimizer keeps of each weight follows it")
    return checkpoint, reports


def _flat(checkpoint: Any, path: nested.Path, notes: Notes) -> dict[str, Tensor]:
    """The tensors of a state_dict alone, none of which shares memory with another."""
    state = nested.at(checkpoint, path)
    if path:
        holder = nested.at(checkpoint, path[:-1])
        beside = [str(key) for key in holder if key != path[-1]] if isinstance(holder, dict) else []
        if len(path) > 1 or beside:
            told = ", ".join(beside) or "what surrounds it"
            notes.say(f"left out, for .safetensors holds tensors alone: {told}")
    flat, owners = {}, {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            notes.say(f"left out, for .safetensors holds tensors alone: {key}")
            continue
        tensor = value.detach().contiguous()
        place = tensor.untyped_storage().data_ptr()
        if place in owners and tensor.numel():
            notes.say(f"{key} was tied to {owners[place]}; .safetensors stores both")
            tensor = tensor.clone()
        owners.setdefault(place, key)
        flat[key] = tensor
    return flat
