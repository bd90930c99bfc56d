"""When each thing of the example is shown: the steps of the page, numbered from 0."""

from dataclasses import dataclass

from gossamer.explain.example import WorkedExample

STAGES = (
    "the picture",
    "hash table in",
    "where taps lead",
    "hash table out",
    "rulebook",
    "gather, multiply, scatter-add",
    "check",
)


@dataclass(frozen=True)
class Timeline:
    """The step at which each part of an example comes.

    Args:
        taps, operations: how many the example has.
    """

    taps: int
    operations: int

    PICTURE = 0
    HASH_IN = 1
    FIRST_TAP = 2

    @classmethod
    def of(cls, example: WorkedExample) -> "Timeline":
        """The steps of an example."""
        return cls(len(example.taps), len(example.operations))

    def tap(self, number: int) -> int:
        """The step that shows where a tap leads."""
        return self.FIRST_TAP + number

    @property
    def hash_out(self) -> int:
        """The step of the output sites."""
        return self.tap(self.taps)

    def line(self, number: int) -> int:
        """The step that writes a line of the rulebook."""
        return self.hash_out + 1 + number

    def work(self, number: int) -> int:
        """The step that carries out an operation."""
        return self.line(self.operations) + number

    @property
    def check(self) -> int:
        """The last step: the comparison with the dense convolution."""
        return self.work(self.operations)

    @property
    def stages(self) -> tuple[tuple[str, int], ...]:
        """Every stage with its first step."""
        first = (
            self.PICTURE,
            self.HASH_IN,
            self.tap(0),
            self.hash_out,
            self.line(0),
            self.work(0),
            self.check,
        )
        return tuple(zip(STAGES, first, strict=True))


def when(first: int | None = None, last: int | None = None, *lit: int) -> str:
    """The attributes of an element that is there from one step to another, and lit at some."""
    parts = [] if first is None else [f'data-from="{first}"']
    if last is not None:
        parts.append(f'data-to="{last}"')
    if lit:
        parts.append(f'data-lit="{" ".join(map(str, lit))}"')
    return " ".join(parts)


def only(*steps: int) -> str:
    """The attributes of an element that is there at some steps alone."""
    return f'data-only="{" ".join(map(str, steps))}"'
