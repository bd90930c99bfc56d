"""The example in a terminal, read back from what was printed."""

import io
import re

import pytest
from rich.console import Console

from gossamer.explain import worked_example
from gossamer.explain.example import KINDS
from gossamer.explain.text import show_examples

RULE = re.compile(r"(\d+) +(\d+) +\((\d),(\d)\) +(\d+) +(\d+) +(\d+) +([AB])")
WORK = re.compile(
    r"(\d+) +x\[(\d)\] = ([\d. ]+?) +x W\((\d),(\d)\) = ([\d. ]+?) +"
    r"y\[(\d)\]: ([\d. ]+) -> ([\d.]+ [\d.]+)"
)


def printed(*kinds: str, encoding: str = "utf-8", **options) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show_examples(Console(file=stream, **options), [worked_example(kind) for kind in kinds])
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def values(text: str) -> list[float]:
    return [float(word) for word in text.split()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_of_the_rulebook_is_printed_in_order(kind):
    example = worked_example(kind)
    told = [tuple(found.groups()) for found in RULE.finditer(printed(kind))]
    wanted = [
        (*map(str, (n, o.tap, *example.taps[o.tap], o.counter, o.input, o.output)), "AB"[o.input])
        for n, o in enumerate(example.operations, start=1)
    ]
    assert told == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_is_printed_with_numbers_that_add_up(kind):
    example = worked_example(kind)
    told = list(WORK.finditer(printed(kind)))
    assert len(told) == len(example.operations)
    for found, o in zip(told, example.operations, strict=True):
        gathered, product, before, after = (values(found[i]) for i in (3, 6, 8, 9))
        assert gathered == pytest.approx(o.gathered, abs=0.05)
        i, j = int(found[4]), int(found[5])
        assert product == pytest.approx([sum(gathered) * (3 * i + j + 1), sum(gathered)])
        assert after == pytest.approx([a + b for a, b in zip(before, product, strict=True)])
        assert (int(found[2]), int(found[7])) == (o.input, o.output)


def test_both_kinds_are_compared_at_the_end():
    lines = printed(*KINDS).splitlines()
    assert any(re.fullmatch(r" *atomic operations +12 +4 *", line) for line in lines)
    assert any(re.fullmatch(r" *output sites +8 +2 *", line) for line in lines)
    assert any(re.fullmatch(r" *fed by both inputs +4 +2 *", line) for line in lines)


def test_nothing_is_wider_than_80_columns_or_cut():
    text = printed(*KINDS, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_a_pipe_gets_plain_text_and_a_terminal_gets_colours():
    assert "\x1b" not in printed("regular")
    assert "\x1b[" in printed("regular", force_terminal=True, color_system="standard")


def test_a_stream_without_unicode_gets_ascii():
    assert printed(*KINDS, encoding="ascii").isascii()
    assert not printed("regular").isascii()
