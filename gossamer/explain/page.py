"""The worked example as one HTML page: pictures, tables, and a slider that walks through them.

The page holds everything it needs and opens from disk. Python writes every element once, with the
steps at which it is shown; the script of the page only turns them on and off.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gossamer.explain.captions import captions
from gossamer.explain.drawing import Scene, chip, sums
from gossamer.explain.example import FILTERS, WorkedExample
from gossamer.explain.timeline import Timeline, when
from gossamer.explain.words import check, comparison, name, place
from gossamer.io.atomic import written_beside
from gossamer.version import __version__

SMALL_CELL = 40


def write_page(path: str | Path, examples: Sequence[WorkedExample]) -> None:
    """Write the page; it appears whole or not at all.

    Args:
        path: where, ending in .html.
        examples: what to show, one tab each.

    Raises:
        ValueError: the path does not end in .html or .htm, or there is no example.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"page is {path}; wanted a path that ends in .html, so browsers open it")
    if not examples:
        raise ValueError("examples is empty; wanted at least one")
    text = page(examples)
    with written_beside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def page(examples: Sequence[WorkedExample]) -> str:
    """The page as HTML that is also well-formed XML."""
    template = (files("gossamer.explain") / "web" / "page.html").read_text(encoding="utf-8")
    parts = {
        "version": __version__,
        "tabs": "\n".join(map(_tab, examples)),
        "sections": "\n".join(map(_section, examples)),
        "comparison": _comparison(examples),
    }
    for part, text in parts.items():
        template = template.replace(f"<!--{part}-->", text)
    return template


def _tab(example: WorkedExample) -> str:
    figures = f"{len(example.outputs)} sites, {len(example.operations)} operations"
    return (
        f'<button type="button" class="tab" data-kind="{example.kind}">{example.kind} '
        f"<small>{figures}</small></button>"
    )


def _section(example: WorkedExample) -> str:
    time = Timeline.of(example)
    told = "\n".join(
        f'<div class="told" {when(step, step)}>{words}</div>'
        for step, words in enumerate(captions(example))
    )
    stages = "".join(
        f'<button type="button" class="stage" data-go="{first}" {_lit(time, index)}>'
        f"{stage}</button>"
        for index, (stage, first) in enumerate(time.stages)
    )
    return f"""
<section class="kind" data-kind="{example.kind}" data-steps="{time.check + 1}">
<h2>A {example.kind} convolution</h2>
<nav class="stages">{stages}</nav>
<div class="caption" aria-live="polite">{told}</div>
<div class="scene">{Scene(example).svg()}</div>
<div class="tables">{_hash_in(example)}{_rulebook(example)}{_hash_out(example)}</div>
{_check(example)}
</section>"""


def _lit(time: Timeline, index: int) -> str:
    """A stage's button is lit through all its steps."""
    starts = [first for _, first in time.stages] + [time.check + 1]
    return when(None, None, *range(starts[index], starts[index + 1]))


def _hash_in(example: WorkedExample) -> str:
    time, rows = Timeline.of(example), []
    for site, values in zip(example.inputs, example.features, strict=True):
        read = [i for i, o in enumerate(example.operations) if o.input == site.row]
        lit = (time.HASH_IN, *map(time.work, read))
        letter = f'<b class="tag {name(site.row)}">{name(site.row)}</b>'
        channels = " ".join(f"{value:.1f}" for value in values)
        cells = (str(site.key), f"{letter} {place(site.place)}", str(site.row), channels)
        rows.append(_row(cells, when(time.HASH_IN, None, *lit)))
    return _table("hash-in", "Hash table in", ("key", "site", "row", "channels of x"), rows)


def _rulebook(example: WorkedExample) -> str:
    time, rows = Timeline.of(example), []
    for index, o in enumerate(example.operations):
        letter = f'<b class="tag {name(o.input)}">{name(o.input)}</b>'
        values = (o.tap, place(example.taps[o.tap], "()"), o.counter, f"{letter} {o.input}")
        cells = (str(index + 1), *map(str, values), str(o.output))
        rows.append(_row(cells, when(time.line(index), None, time.line(index), time.work(index))))
    heads = ("#", "tap", "(i,j)", "counter", "input row", "output row")
    return _table("rulebook", "Rulebook", heads, rows)


def _hash_out(example: WorkedExample) -> str:
    time, rows = Timeline.of(example), []
    for site in example.outputs:
        fed = [i for i, o in enumerate(example.operations) if o.output == site.row]
        tags = "".join(
            f'<b class="tag {name(row)}">{name(row)}</b>' for row in example.sources(site.row)
        )
        piles = (_pile(example, site.row, index) for index in range(len(FILTERS)))
        cells = (str(site.key), f"{place(site.place)} {tags}", str(site.row), *piles)
        lit = (time.hash_out, *map(time.work, fed))
        rows.append(_row(cells, when(time.hash_out, None, *lit)))
    heads = ("key", "site, fed by", "row", *(f"y {filter_name}" for filter_name in FILTERS))
    return _table("hash-out", "Hash table out", heads, rows)


def _pile(example: WorkedExample, row: int, index: int) -> str:
    """The values of one sum, one above the other, of which each step shows one."""
    values = (f"<span {steps}>{value}</span>" for value, steps in sums(example, row, index))
    return f'<span class="pile">{"".join(values)}</span>'


def _check(example: WorkedExample) -> str:
    time = Timeline.of(example)
    ours = {s.place: values for s, values in zip(example.outputs, example.result, strict=True)}
    whole = {
        (i, j): values
        for i, line in enumerate(example.dense)
        for j, values in enumerate(line)
        if any(values)
    }
    panes = []
    for words, values in (("gossamer", ours), ("torch conv2d", whole)):
        for index, filter_name in enumerate(FILTERS):
            drawn = _small_grid(example, {at: v[index] for at, v in values.items()}, filter_name)
            panes.append(f"<figure>{drawn}<figcaption>{words}, {filter_name}</figcaption></figure>")
    return (
        f'<div class="check" {when(time.check)}><h3>The same, by dense convolution</h3>'
        f'<div class="panes">{"".join(panes)}</div><p>{check(example)}</p></div>'
    )


def _small_grid(
    example: WorkedExample, values: dict[tuple[int, int], float], filter_name: str
) -> str:
    rows, columns = example.output_shape
    sites = {site.place for site in example.outputs}
    drawn = []
    for i in range(rows):
        for j in range(columns):
            corner = f'x="{j * SMALL_CELL + 1}" y="{i * SMALL_CELL + 1}"'
            edge = f'width="{SMALL_CELL}" height="{SMALL_CELL}"'
            drawn.append(f'<rect {corner} {edge} class="cell"/>')
            if (i, j) in values:
                at = (j * SMALL_CELL + 6.0, i * SMALL_CELL + 9.0)
                css = filter_name if (i, j) in sites else f"{filter_name} beyond"
                drawn.append(chip(at, SMALL_CELL - 10, css, f"{values[i, j]:.1f}"))
    box = f"0 0 {columns * SMALL_CELL + 2} {rows * SMALL_CELL + 2}"
    width = columns * SMALL_CELL + 2
    return f'<svg viewBox="{box}" width="{width}" class="small-grid">{"".join(drawn)}</svg>'


def _comparison(examples: Sequence[WorkedExample]) -> str:
    heads = ("", *(example.kind for example in examples))
    rows = [_row(line, "") for line in comparison(examples)]
    return _table("comparison", "Side by side", heads, rows)


def _table(css: str, caption: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{words}</th>" for words in heads)
    return (
        f'<table class="{css}"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(cells: Sequence[str], steps: str) -> str:
    return f"<tr {steps}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
