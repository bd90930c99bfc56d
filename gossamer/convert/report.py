"""What a conversion did, entry by entry."""

from dataclasses import dataclass, field
from typing import Any

from gossamer.convert.options import Options

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Changed:
    """An entry that is not what it was.

    Args:
        key: in the source.
        to: in the result; None if it was left out.
        shape, to_shape: before and after.
        kernel: taps an axis of a sparse convolution, where they are known.
        what: what was done, in words.
    """

    key: str
    to: str | None
    shape: Shape
    to_shape: Shape
    kernel: Shape | None
    what: str


@dataclass(frozen=True)
class Back:
    """The conversion that undoes one.

    Args:
        source, target: formats.
        options: what the result does not say of itself.
    """

    source: str
    target: str
    options: Options


@dataclass(frozen=True)
class Report:
    """What a conversion of one state_dict did.

    Args:
        source, target: formats.
        changed: the entries that are not what they were, in their order.
        left: weights of two axes and more that stayed as they were, and why.
        kept: how many entries stayed as they were, weights and all.
        notes: what its owner should know.
        back: how to undo it.
    """

    source: str
    target: str
    changed: tuple[Changed, ...]
    left: tuple[tuple[str, str], ...]
    kept: int
    notes: tuple[str, ...]
    back: Back

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        options = self.back.options
        return {
            "source": self.source,
            "target": self.target,
            "changed": [vars(change) for change in self.changed],
            "left": [{"key": key, "why": why} for key, why in self.left],
            "kept": self.kept,
            "notes": list(self.notes),
            "back": {"source": self.back.source, "target": self.back.target, **vars(options)},
        }


@dataclass
class Notes:
    """Sentences, each told once."""

    said: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Add one that was not said yet."""
        if sentence not in self.said:
            self.said.append(sentence)
