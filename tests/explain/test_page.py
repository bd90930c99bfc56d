"""The page: well-formed, complete in itself, and in a browser as the example says."""

import re
from xml.etree import ElementTree

import pytest

from gossamer.explain import worked_example, write_page
from gossamer.explain.example import KINDS
from gossamer.explain.page import page
from gossamer.explain.timeline import Timeline
from tests.view.browser import browser

ROWS = "Array.from(document.querySelectorAll('section:not(.off) .rulebook tbody tr'))"
SEEN = ".filter(e => e.getClientRects().length && getComputedStyle(e).visibility === 'visible')"
SUMS = (
    "Array.from(document.querySelectorAll('section:not(.off) .hash-out tbody tr'))"
    ".map(row => Array.from(row.querySelectorAll('.pile > span'))"
    f"{SEEN}.map(e => Number(e.textContent)))"
)


@pytest.fixture(scope="module")
def examples():
    return [worked_example(kind) for kind in KINDS]


@pytest.fixture(scope="module")
def path(examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explain.html"
    write_page(path, examples)
    return path


@pytest.fixture(scope="module")
def opened(path):
    with browser(height=1300) as chromium:
        yield chromium.open(path)


def test_the_page_is_well_formed_and_asks_for_nothing_outside(path):
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert not [e for e in root.iter() if {"src", "href"} & set(e.attrib)]
    assert "http" not in text and "url(" not in text and "<!--" not in text


def test_every_line_of_the_rulebook_and_every_step_is_on_the_page(path, examples):
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    for section, example in zip(root.iter("section"), examples, strict=True):
        table = next(t for t in section.iter("table") if t.get("class") == "rulebook")
        told = ["".join(row.itertext()) for row in table.find("tbody").iter("tr")]
        wanted = [
            f"{n}{o.tap}({','.join(map(str, example.taps[o.tap]))}){o.counter}"
            f"{'AB'[o.input]} {o.input}{o.output}"
            for n, o in enumerate(example.operations, start=1)
        ]
        assert told == wanted
        told_steps = [e for e in section.iter("div") if e.get("class") == "told"]
        assert len(told_steps) == int(section.get("data-steps")) == Timeline.of(example).check + 1


def test_the_same_example_gives_the_same_page(examples):
    assert page(examples) == page([worked_example(kind) for kind in KINDS])


@pytest.mark.parametrize("name", ["explain.txt", "explain"])
def test_a_page_that_no_browser_would_open_is_refused(tmp_path, examples, name):
    with pytest.raises(ValueError, match=r"wanted a path that ends in \.html"):
        write_page(tmp_path / name, examples)
    assert not list(tmp_path.iterdir())


def test_a_page_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="examples is empty"):
        write_page(tmp_path / "explain.html", [])


def test_a_folder_that_cannot_be_made_is_told_and_nothing_is_left(tmp_path, examples):
    (tmp_path / "file").write_text("here first")
    with pytest.raises(OSError, match="cannot write"):
        write_page(tmp_path / "file" / "explain.html", examples)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_browser_has_nothing_to_complain_of_and_fetches_the_page_alone(opened, path):
    for fragment in ("", "#submanifold-3", "#regular-37", "#nonsense-x"):
        opened.open(path, fragment)
        assert opened.said == []
        assert {url.split("#")[0] for url in opened.asked} <= {"about:blank", path.as_uri()}


@pytest.mark.parametrize(("kind", "operations"), [("regular", 12), ("submanifold", 4)])
def test_the_rulebook_fills_row_by_row_up_to_every_operation(opened, path, kind, operations):
    time = Timeline(taps=9, operations=operations)
    for step, rows in [(0, 0), (time.hash_out, 0), (time.line(0), 1), (time.line(2), 3)]:
        opened.open(path, f"#{kind}-{step + 1}")
        assert len(opened.run(f"{ROWS}{SEEN}.map(e => e.innerText)")) == rows
    opened.open(path, f"#{kind}-{time.check + 1}")
    assert len(opened.run(f"{ROWS}{SEEN}.map(e => e.innerText)")) == operations
    assert f"Done: {operations} atomic operations" in opened.text("section:not(.off) .caption")


def test_the_sums_of_every_output_follow_the_operations(opened, path, examples):
    for example in examples:
        time = Timeline.of(example)
        sums = {site.row: (0.0, 0.0) for site in example.outputs}
        opened.open(path, f"#{example.kind}-{time.work(0)}")
        for o in example.operations:
            opened.click("#next")
            sums[o.output] = o.after
            for told, wanted in zip(opened.run(SUMS), sums.values(), strict=True):
                assert told == pytest.approx(wanted, abs=0.01)


def test_slider_buttons_keys_and_stages_all_walk(opened, path):
    def count() -> str:
        return opened.text("#count")

    opened.open(path)
    assert count() == "1 / 37"
    opened.click("#next")
    assert count() == "2 / 37"
    opened.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))")
    opened.click("#back")
    assert count() == "1 / 37"
    opened.run("const s = document.querySelector('#slider'); s.value = 30; s.oninput()")
    assert count() == "31 / 37"
    opened.click("section:not(.off) .stage:last-child")
    assert count() == "37 / 37"
    opened.click(".tab[data-kind=submanifold]")
    assert count() == "1 / 21"
    assert opened.run("document.querySelectorAll('section.kind:not(.off)').length") == 1


def test_play_walks_by_itself_until_it_is_paused(opened, path):
    opened.open(path)
    opened.click("#play")
    assert opened.text("#play") == "Pause"
    opened.until("document.querySelector('#slider').value >= 2")
    opened.click("#play")
    assert opened.text("#play") == "Play"


def test_without_its_script_the_page_shows_the_whole_result(path, examples):
    with browser() as chromium:
        chromium.call("Emulation.setScriptExecutionDisabled", value=True)
        chromium.open(path)

        def seen(selector: str) -> list[str]:
            found = f"Array.from(document.querySelectorAll({selector!r}))"
            return chromium.run(f"{found}{SEEN}.map(e => e.textContent)")

        assert len(seen(".rulebook tbody tr")) == 12 + 4
        assert not seen(".told, .route, .cross, .controls, .tab")
        wanted = [f"{value:.1f}" for e in examples for sums in e.result for value in sums]
        assert seen(".hash-out .pile > span") == wanted


def test_the_picture_is_drawn_in_both_colours_of_the_sites(opened, path):
    picture = opened.open(path, "#regular-13").screenshot()
    for color in ("#7cb7f5", "#f9b262", "#35405a", "#ffe48a"):
        wanted = [int(part, 16) for part in re.findall("..", color[1:])]
        assert (abs(picture.astype(int) - wanted).max(2) <= 3).sum() > 1000, color
