"""The words and numbers that the text and the page share."""

from collections.abc import Sequence

from gossamer.explain.example import Move, WorkedExample


def name(*rows: int) -> str:
    """The letters of input rows: 0 is A, 1 is B, both are AB."""
    return "".join("AB"[row] for row in rows)


def place(at: Sequence[int], brackets: str = "[]") -> str:
    """A site [1,2], or with other brackets the position of a tap (1,2)."""
    return f"{brackets[0]}{','.join(map(str, at))}{brackets[1]}"


def size(values: Sequence[object], by: str = " x ") -> str:
    """The extents of a grid, 5 x 5."""
    return by.join(map(str, values))


def numbers(values: Sequence[float]) -> str:
    """Values to one decimal, which is exact for the example."""
    return " ".join(f"{value:.1f}" for value in values)


def rule(example: WorkedExample) -> str:
    """How an input's place and a tap make the output's place."""
    shift = f" + {place(example.shift, '()')}" if any(example.shift) else ""
    return f"out = in - (i,j){shift}"


def fate(example: WorkedExample, move: Move) -> str:
    """What a move arrives at: a site, a cell that is no site, or nothing at all."""
    if move.output is not None:
        return "a site"
    inside = all(0 <= at < n for at, n in zip(move.place, example.output_shape, strict=True))
    return "no site" if inside else "outside"


def comparison(examples: Sequence[WorkedExample]) -> list[tuple[str, ...]]:
    """Lines of a table: what is compared, and a figure an example."""
    lines = {
        "output sites": [len(e.outputs) for e in examples],
        "fed by both inputs": [e.fed_by_both for e in examples],
        "atomic operations": [len(e.operations) for e in examples],
        "in a dense convolution": [e.dense_operations for e in examples],
    }
    shares = (f"{len(e.operations) / e.dense_operations:.0%}" for e in examples)
    return [
        *((head, *map(str, values)) for head, values in lines.items()),
        ("share of the dense work", *shares),
    ]


def check(example: WorkedExample) -> str:
    """Whether the dense convolution says the same, and what it computes beyond."""
    padding = f" with padding {example.shift[0]}" if any(example.shift) else ""
    verdict = (
        "which is float32 rounding"
        if example.agrees
        else "MORE THAN ROUNDING: something is wrong here, please report it"
    )
    others = example.dense_sites - len(example.outputs)
    beyond = (
        f"It also fills {others} cells around them, which a submanifold convolution leaves out."
        if others
        else "Its other cells are zero."
    )
    return (
        f"torch.nn.functional.conv2d{padding} on the whole picture: at these sites it differs by "
        f"{example.difference:.1g} at most, {verdict}. {beyond}"
    )
