"""The moving picture: input, kernel and output as one SVG, every element with its steps."""

from collections.abc import Callable, Iterator

from gossamer.explain.example import FILTERS, Operation, Place, WorkedExample
from gossamer.explain.timeline import Timeline, only, when
from gossamer.explain.words import name, place, size

# All in the units of the SVG's own view box.
CELL, TAP_CELL = 60, 70
TOP, LEFT = 72, 46
# How far below a cell's top arrows arrive: between its name and its numbers.
BETWEEN = 26
BY = " × "
GAP = 80
KERNEL_LEFT = LEFT + 5 * CELL + GAP
OUTPUT_LEFT = KERNEL_LEFT + 3 * TAP_CELL + GAP
WIDTH, HEIGHT = OUTPUT_LEFT + 5 * CELL + 26, TOP + 5 * CELL + 14


class Scene:
    """The SVG of one example."""

    def __init__(self, example: WorkedExample):
        self.example, self.time = example, Timeline.of(example)
        # Where the output is smaller than the input there is room to show what falls outside.
        self.margin = (example.shape[0] - example.output_shape[0]) // 2

    def svg(self) -> str:
        """The whole drawing; what is listed later lies above what is listed before."""
        label = f"A {self.example.kind} convolution: input, kernel and output"
        return "\n".join(
            (
                f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
                *self._grids(),
                *self._cards(),
                *self._fills(),
                *self._moves(),
                *self._operations(),
                *self._titles(),
                *self._inputs(),
                *self._kernel(),
                *self._outputs(),
                *self._rings(),
                "</svg>",
            )
        )

    def _grids(self) -> Iterator[str]:
        e = self.example
        yield from (rect(self._input(at), CELL, "cell") for at in cells(e.shape))
        yield from (rect(self._tap(tap), TAP_CELL, "cell") for tap in range(len(e.taps)))
        yield from (rect(self._output(at), CELL, "cell") for at in cells(e.output_shape))

    def _titles(self) -> Iterator[str]:
        e = self.example
        heads = (
            (LEFT + 2.5 * CELL, f"input {size(e.shape, BY)}"),
            (KERNEL_LEFT + 1.5 * TAP_CELL, f"kernel {size(e.kernel, BY)}"),
            (OUTPUT_LEFT + 2.5 * CELL, f"output {size(e.output_shape, BY)}"),
        )
        yield from (text(x, 24, words, "head") for x, words in heads)
        for grid, shape in ((self._input, e.shape), (self._output, e.output_shape)):
            left, top = grid((0, 0))
            for i in range(shape[0]):
                yield text(left - 16, top + (i + 0.5) * CELL, str(i), "axis")
            for j in range(shape[1]):
                yield text(left + (j + 0.5) * CELL, top - 14, str(j), "axis")

    def _cards(self) -> Iterator[str]:
        """A card for each channel of a site, shifted so that depth can be seen."""
        for site, values in zip(self.example.inputs, self.example.features, strict=True):
            x, y = self._input(site.place)
            for depth in reversed(range(len(values))):
                corner = (x + 3 + 4 * depth, y + 3 - 4 * depth)
                yield rect(corner, CELL - 6, f"card {name(site.row)}")

    def _inputs(self) -> Iterator[str]:
        for site, values in zip(self.example.inputs, self.example.features, strict=True):
            x, y = self._input(site.place)
            yield text(x + CELL / 2, y + 21, name(site.row), "letter")
            yield text(x + CELL / 2, y + 42, f"{values[0]:.1f}", "value")

    def _kernel(self) -> Iterator[str]:
        for tap, position in enumerate(self.example.taps):
            x, y = self._tap(tap)
            yield text(x + TAP_CELL / 2, y + 16, place(position, "()"), "axis")
            for index, filter_name in enumerate(FILTERS):
                weight = f"{self.example.weights[tap][index]:.0f}"
                yield chip((x + 8 + 28 * index, y + 30), 26, filter_name, weight)

    def _fills(self) -> Iterator[str]:
        """The colour of what has arrived: one input's, or both in halves."""
        for site in self.example.outputs:
            x, y = self._output(site.place)
            (first, letter), *later = sorted(
                (self.time.tap(m.tap), name(m.input))
                for m in self.example.moves
                if m.output == site.row
            )
            if self.example.kind == "submanifold":
                yield rect((x + 3, y + 3), CELL - 6, "promised", when(None, first - 1))
            until = later[0][0] - 1 if later else None
            yield rect((x + 3, y + 3), CELL - 6, f"card {letter}", when(first, until))
            if later:
                yield from halves((x, y), when(later[0][0]))

    def _outputs(self) -> Iterator[str]:
        """The row of every output, and its sums from zero to the last."""
        for site in self.example.outputs:
            x, y = self._output(site.place)
            row = f"row {site.row}"
            yield text(x + CELL / 2, y + 17, row, "small", when(self.time.hash_out))
            for index, filter_name in enumerate(FILTERS):
                for value, steps in sums(self.example, site.row, index):
                    yield chip((x + 4 + 26.5 * index, y + 29), 25.5, filter_name, value, steps)

    def _rings(self) -> Iterator[str]:
        """A frame around each cell that a step is about."""
        e, time = self.example, self.time
        for site in e.inputs:
            steps = self._steps(lambda o, row=site.row: o.input == row)
            yield ring(self._input(site.place), CELL, when(None, None, time.HASH_IN, *steps))
        for tap in range(len(e.taps)):
            steps = self._steps(lambda o, tap=tap: o.tap == tap)
            yield ring(self._tap(tap), TAP_CELL, when(None, None, time.tap(tap), *steps))
        for site in e.outputs:
            steps = self._steps(lambda o, row=site.row: o.output == row)
            yield ring(self._output(site.place), CELL, when(None, None, time.hash_out, *steps))

    def _steps(self, wanted: Callable[[Operation], bool]) -> list[int]:
        """The steps that write or carry out the operations that are wanted."""
        picked = [i for i, o in enumerate(self.example.operations) if wanted(o)]
        return [*map(self.time.line, picked), *map(self.time.work, picked)]

    def _moves(self) -> Iterator[str]:
        for move in self.example.moves:
            step, letter = self.time.tap(move.tap), name(move.input)
            source = self.example.inputs[move.input].place
            missed = "" if move.output is not None else " missed"
            yield self._route(source, move.tap, move.place, f"{letter}{missed}", only(step))
            if move.output is None:
                yield cross(self._output(move.place), CELL, only(step))

    def _operations(self) -> Iterator[str]:
        for index, o in enumerate(self.example.operations):
            source = self.example.inputs[o.input].place
            target = self.example.outputs[o.output].place
            steps = only(self.time.line(index), self.time.work(index))
            yield self._route(source, o.tap, target, name(o.input), steps)

    def _route(self, source: Place, tap: int, target: Place, css: str, steps: str) -> str:
        x, y = self._input(source)
        u, v = self._tap(tap)
        s, t = self._output(target)
        to_tap = curve((x + CELL, y + CELL / 2), (u + 3, v + BETWEEN))
        to_output = curve((u + TAP_CELL, v + BETWEEN), (s + 3, t + BETWEEN))
        return f'<g class="route {css}" {steps}>{to_tap}{to_output}</g>'

    def _input(self, at: Place) -> tuple[float, float]:
        return LEFT + at[1] * CELL, TOP + at[0] * CELL

    def _tap(self, tap: int) -> tuple[float, float]:
        i, j = self.example.taps[tap]
        above = (5 * CELL - 3 * TAP_CELL) / 2
        return KERNEL_LEFT + j * TAP_CELL, TOP + above + i * TAP_CELL

    def _output(self, at: Place) -> tuple[float, float]:
        return OUTPUT_LEFT + (at[1] + self.margin) * CELL, TOP + (at[0] + self.margin) * CELL


def sums(example: WorkedExample, row: int, index: int) -> Iterator[tuple[str, str]]:
    """An output's value for one filter since the first operation, and when each is shown."""
    time = Timeline.of(example)
    values = [(time.work(0), 0.0)]
    values += [
        (time.work(i), o.after[index]) for i, o in enumerate(example.operations) if o.output == row
    ]
    ends = [first - 1 for first, _ in values[1:]] + [None]
    for (first, value), last in zip(values, ends, strict=True):
        if last is None or last >= first:
            yield f"{value:.1f}", when(first, last)


def cells(shape: Place) -> Iterator[Place]:
    """Every place of a grid."""
    return ((i, j) for i in range(shape[0]) for j in range(shape[1]))


def text(x: float, y: float, words: str, css: str, steps: str = "") -> str:
    """Words centred on a point."""
    return f'<text x="{x:g}" y="{y:g}" class="{css}" {steps}>{words}</text>'


def rect(corner: tuple[float, float], edge: float, css: str, steps: str = "") -> str:
    """A square with slightly round corners."""
    x, y = corner
    square = f'x="{x:g}" y="{y:g}" width="{edge:g}" height="{edge:g}"'
    return f'<rect {square} rx="5" class="{css}" {steps}/>'


def ring(corner: tuple[float, float], edge: float, steps: str) -> str:
    """A frame that shows while it is lit."""
    return rect((corner[0] - 2, corner[1] - 2), edge + 4, "ring", steps)


def chip(corner: tuple[float, float], width: float, css: str, words: str, steps: str = "") -> str:
    """A number on the colour of its filter."""
    x, y = corner
    box = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="24" rx="4"/>'
    return f'<g class="chip {css}" {steps}>{box}{text(x + width / 2, y + 12, words, "number")}</g>'


def halves(corner: tuple[float, float], steps: str) -> Iterator[str]:
    """A cell that both inputs feed: A above the diagonal, B below."""
    x, y, edge = corner[0] + 3, corner[1] + 3, CELL - 6
    yield f'<path d="M{x:g} {y:g}h{edge}l-{edge} {edge}z" class="card A" {steps}/>'
    yield f'<path d="M{x + edge:g} {y + edge:g}h-{edge}l{edge} -{edge}z" class="card B" {steps}/>'


def cross(corner: tuple[float, float], edge: float, steps: str) -> str:
    """The mark of an arrow that leads nowhere."""
    x, y, arm = corner[0] + edge / 2, corner[1] + edge / 2, 8
    lines = f"M{x - arm:g} {y - arm:g}l{2 * arm} {2 * arm}m0 -{2 * arm}l-{2 * arm} {2 * arm}"
    return f'<path d="{lines}" class="cross" {steps}/>'


def curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    """An arrow that leaves and arrives level."""
    (x, y), (u, v) = start, end
    bend = (u - x) * 0.45
    path = f"M{x:g} {y:g}C{x + bend:g} {y:g} {u - bend:g} {v:g} {u:g} {v:g}"
    head = f"M{u - 9:g} {v - 5:g}L{u:g} {v:g}L{u - 9:g} {v + 5:g}"
    drawn = ((path, "halo"), (path, "arrow"), (head, "arrow arrow-head"))
    return "".join(f'<path d="{lines}" class="{css}"/>' for lines, css in drawn)
