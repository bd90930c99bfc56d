"""What the page says at every step."""

from collections.abc import Iterator

from gossamer.explain.drawing import BY
from gossamer.explain.example import (
    CHANNELS,
    FILTERS,
    Move,
    Operation,
    Site,
    WorkedExample,
)
from gossamer.explain.words import fate, name, place, rule, size


def captions(example: WorkedExample) -> Iterator[str]:
    """HTML for each step, in the order of Timeline: a sentence, and below it what it does."""
    first, second = (f"{_tag(site.row)} {place(site.place)}" for site in example.inputs)
    yield _told(
        f"Two cells of a {size(example.shape, BY)} picture are active, {first} and {second}: row, "
        f"column. Each has {CHANNELS} channels.",
        f"A {size(example.kernel, BY)} kernel with two filters: <b>dark</b> numbers its taps, "
        "<b>light</b> is 1 everywhere, both the same for every channel. Stride 1, padding 0.",
    )
    yield _told(
        "The hash table in says which row of the features belongs to which site.",
        f"The key numbers the cells: {example.shape[1]} × row + column. gossamer keeps rows in the "
        "order of their keys and finds neighbours by walking along them.",
    )
    for tap, position in enumerate(example.taps):
        moves = [move for move in example.moves if move.tap == tap]
        yield _told(
            f"Tap {tap} at {place(position, '()')}: where does it send each input?",
            " ".join(_move(example, move) for move in moves) + f"<br/><i>{_rule(example)}</i>",
        )
    kept = "keeps the sites" if example.kind == "submanifold" else "makes a site of every place"
    yield _told(
        f"The hash table out: {len(example.outputs)} output sites, {example.fed_by_both} of them "
        "fed by both inputs.",
        f"A {example.kind} convolution {kept}{' reached' * (example.kind == 'regular')}. Rows go "
        "in the order of the keys again.",
    )
    for number, operation in enumerate(example.operations, start=1):
        yield _line(example, number, operation)
    for number, operation in enumerate(example.operations, start=1):
        yield _work(example, number, operation)
    yield _told(
        f"Done: {len(example.operations)} atomic operations, where a dense convolution makes "
        f"{example.dense_operations}.",
        "The dense convolution is below, with the same numbers.",
    )


def _line(example: WorkedExample, number: int, o: Operation) -> str:
    source, target = example.inputs[o.input], example.outputs[o.output]
    return _told(
        f"Line {number} of the rulebook: through tap {place(example.taps[o.tap], '()')} input row "
        f"{o.input} feeds output row {o.output}.",
        f"{_tag(o.input)} {place(source.place)} → {place(target.place)}. The counter numbers the "
        f"lines of one tap: this is its number {o.counter}.",
    )


def _work(example: WorkedExample, number: int, o: Operation) -> str:
    products = []
    for index, filter_name in enumerate(FILTERS):
        weight = example.weights[o.tap][index]
        terms = " + ".join(f"{value:.1f}·{weight:.0f}" for value in o.gathered)
        products.append(f"{filter_name} {terms} = <b>{o.product[index]:.1f}</b>")
    sums = (
        f"{filter_name} {before:.1f} + {change:.1f} = <b>{after:.1f}</b>"
        for filter_name, before, change, after in zip(
            FILTERS, o.before, o.product, o.after, strict=True
        )
    )
    gathered = ", ".join(f"{value:.1f}" for value in o.gathered)
    return _told(
        f"Operation {number} of {len(example.operations)}: gather x[{o.input}] = ({gathered}), "
        f"multiply by the weights of tap {place(example.taps[o.tap], '()')}, add to y[{o.output}].",
        f"{'; '.join(products)}<br/>y[{o.output}]: {'; '.join(sums)}",
    )


def _move(example: WorkedExample, move: Move) -> str:
    source: Site = example.inputs[move.input]
    reached = fate(example, move)
    end = {
        "a site": "an output site.",
        "no site": "no site, so nothing is computed there.",
        "outside": "outside the output.",
    }[reached]
    return f"{_tag(move.input)} {place(source.place)} → {place(move.place)}: {end}"


def _rule(example: WorkedExample) -> str:
    return rule(example).replace(" - ", " − ")


def _tag(row: int) -> str:
    return f'<b class="tag {name(row)}">{name(row)}</b>'


def _told(sentence: str, detail: str) -> str:
    return f"<p>{sentence}</p><p>{detail}</p>"
