"""The worked example in a terminal, step by step."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gossamer.explain.example import CHANNELS, FILTERS, WorkedExample
from gossamer.explain.terminal import beside, grid, heading, say, show, table, title
from gossamer.explain.words import check, comparison, fate, name, numbers, place, rule, size

COLORS = {"A": "bold cyan", "B": "bold dark_orange", "AB": "bold green"}


def show_examples(console: Console, examples: Sequence[WorkedExample]) -> None:
    """Print the examples, each step by step, and, where there are several, how they differ."""
    steps = (_picture, _hash_in, _moves, _hash_out, _rulebook, _work, _result)
    for place_in_line, example in enumerate(examples):
        text = (
            f"Two sites on a {size(example.shape)} picture, {CHANNELS} channels; a "
            f"{size(example.kernel)} kernel, two filters, stride 1, padding 0."
        )
        if repeated := 2 if place_in_line else 0:
            text += " Steps 1 and 2, the picture and its hash table, are the same as above."
        title(console, f"A {example.kind} convolution, step by step", text)
        for number, step in enumerate(steps, start=1):
            if number > repeated:
                step(console, number, example)
    if len(examples) > 1:
        _comparison(console, examples)


def _picture(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. The picture and the kernel")
    sites = {site.place: name(site.row) for site in example.inputs}
    weights = dict(zip(example.taps, example.weights, strict=True))
    panes = [("the picture", grid(console, example.shape, lambda at: sites.get(at, ""), COLORS))]
    for index, filter_name in enumerate(FILTERS):
        drawn = grid(console, example.kernel, lambda at, i=index: f"{weights[at][i]:.0f}", COLORS)
        panes.append((f"the {filter_name} filter", drawn))
    beside(console, panes)
    say(
        console,
        f"Sites are [row,column]. A filter has a weight for each of the {CHANNELS} channels, here "
        f"{CHANNELS} times the same: dark numbers the taps, light is 1 everywhere.",
    )


def _hash_in(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. Hash table in: site -> row")
    shown = table(console, "key", "site", "row", "features", "", right=("key", "row"))
    for site, values in zip(example.inputs, example.features, strict=True):
        letter = Text(name(site.row), style=COLORS[name(site.row)])
        shown.add_row(str(site.key), place(site.place), str(site.row), numbers(values), letter)
    show(console, shown)
    say(
        console,
        f"A key numbers the cells of the picture: {example.shape[1]} x row + column. Only active "
        "cells have a row of features. gossamer keeps rows in the order of their keys, so it finds "
        "neighbours by walking along the keys and needs no hash function.",
    )


def _moves(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. For every tap (i,j), where each input goes: {rule(example)}")
    heads = [f"{name(site.row)} {place(site.place)} goes to" for site in example.inputs]
    shown = table(console, "tap", "(i,j)", *heads, right=("tap",))
    for tap, position in enumerate(example.taps):
        moves = [move for move in example.moves if move.tap == tap]
        cells = []
        for move in moves:
            style = "dim" if move.output is None else COLORS[name(move.input)]
            cells.append(Text(f"{place(move.place):<7} {fate(example, move)}", style=style))
        shown.add_row(str(tap), place(position, "()"), *cells)
    show(console, shown)


def _hash_out(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. Hash table out: site -> row")
    shown = table(console, "key", "site", "row", "fed by", right=("key", "row"))
    fed_by = {site.place: name(*example.sources(site.row)) for site in example.outputs}
    for site in example.outputs:
        letters = Text(fed_by[site.place], style=COLORS[fed_by[site.place]])
        shown.add_row(str(site.key), place(site.place), str(site.row), letters)
    drawn = grid(console, example.output_shape, lambda at: fed_by.get(at, ""), COLORS)
    beside(console, [("", shown), (f"{len(example.outputs)} output sites", drawn)])
    if example.kind == "submanifold":
        text = "A submanifold kernel keeps the sites: nothing else is computed."
    else:
        text = "Every place that was reached is an output site, once."
    both = f"{example.fed_by_both} of {len(example.outputs)}"
    say(console, f"{text} Fed by both inputs: {both}.")


def _rulebook(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. The rulebook: which row feeds which, through which tap")
    heads = ("#", "tap", "(i,j)", "counter", "input row", "output row", "")
    shown = table(console, *heads, right=("#", "tap", "counter", "input row", "output row"))
    for index, o in enumerate(example.operations, start=1):
        source, target = example.inputs[o.input], example.outputs[o.output]
        route = f"{name(o.input)} {place(source.place)} -> {place(target.place)}"
        position = place(example.taps[o.tap], "()")
        rows = map(str, (o.counter, o.input, o.output))
        shown.add_row(
            str(index), str(o.tap), position, *rows, Text(route, style=COLORS[name(o.input)])
        )
    show(console, shown)
    say(
        console,
        f"{len(example.operations)} atomic operations; the counter numbers those of one tap. A "
        f"dense convolution makes {example.dense_operations}: every tap at every output cell.",
    )


def _work(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. Gather - multiply - scatter-add, one operation at a time")
    heads = ("#", "gather", "multiply: dark light", "scatter-add: dark light")
    shown = table(console, *heads, right=("#",))
    for index, o in enumerate(example.operations, start=1):
        shown.add_row(
            str(index),
            Text(f"x[{o.input}] = {numbers(o.gathered)}", style=COLORS[name(o.input)]),
            f"x W{place(example.taps[o.tap], '()')} = {numbers(o.product)}",
            f"y[{o.output}]: {numbers(o.before)} -> {numbers(o.after)}",
        )
    show(console, shown)
    last = example.operations[-1]
    terms = " + ".join(f"{v:.1f} x {example.weights[last.tap][0]:.0f}" for v in last.gathered)
    say(
        console,
        f"A product sums over the channels. Operation {len(example.operations)}, dark: {terms} = "
        f"{last.product[0]:.1f}, added to {last.before[0]:.1f}.",
    )


def _result(console: Console, number: int, example: WorkedExample) -> None:
    heading(console, f"{number}. The result, beside the dense convolution's")
    heads = ("row", "site", "gossamer: dark", "light", "conv2d: dark", "light ")
    shown = table(console, *heads, right=("row", *heads[2:]))
    for site, ours in zip(example.outputs, example.result, strict=True):
        dense = example.dense[site.place[0]][site.place[1]]
        values = (f"{v:.1f}" for v in (*ours, *dense))
        shown.add_row(str(site.row), place(site.place), *values)
    show(console, shown)
    say(console, check(example))


def _comparison(console: Console, examples: Sequence[WorkedExample]) -> None:
    kinds = [example.kind for example in examples]
    shown = table(console, "", *kinds, right=kinds)
    for line in comparison(examples):
        shown.add_row(*line)
    heading(console, "Side by side")
    show(console, shown)
