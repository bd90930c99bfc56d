"""How the explanations look in a terminal: 80 columns, plain in a pipe, ASCII where it must be.

Needs rich, which `pip install gossamer[cli]` brings.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gossamer.explain.example import Place

WIDTH = 80
INDENT = (0, 0, 0, 3)
Cell = Callable[[Place], str]


def title(console: Console, head: str, text: str) -> None:
    """A framed head with a line or two below it."""
    told = Text.assemble((head, "bold"), f"\n{text}")
    console.print(Panel(told, box=_box(console, box.ROUNDED), width=_width(console)))


def heading(console: Console, text: str) -> None:
    """A bold line with room around it."""
    console.print(Text(f"\n{text}\n", style="bold"))


def say(console: Console, text: str) -> None:
    """A paragraph, indented and wrapped."""
    padded = Padding(Text(text), (1, 0, 0, 3), expand=False)
    console.print(padded, width=_width(console), highlight=False)


def show(console: Console, shown: RenderableType) -> None:
    """A table or a drawing, indented."""
    console.print(Padding(shown, INDENT, expand=False))


def beside(console: Console, panes: Iterable[tuple[str, RenderableType]]) -> None:
    """Drawings side by side, each under its title."""
    row = Table.grid(padding=(0, 4, 0, 0), pad_edge=False)
    row.add_row(*(Group(Text(head, style="italic"), shown) for head, shown in panes))
    show(console, row)


def table(console: Console, *heads: str, right: Sequence[str] = ()) -> Table:
    """An empty table with these heads, those in `right` flush right."""
    made = Table(box=_box(console, box.SIMPLE_HEAD), pad_edge=False, show_edge=False)
    for head in heads:
        made.add_column(head, justify="right" if head in right else "left", no_wrap=True)
    return made


def grid(console: Console, shape: Place, cell: Cell, colors: Mapping[str, str]) -> Text:
    """A picture as boxes with row and column numbers, and what `cell` says in each."""
    rows, columns = shape
    lines, widths = _box(console, box.SQUARE), [3] * columns
    bar = lines.mid_left
    drawn = Text().append("    " + "   ".join(map(str, range(columns))) + "\n", style="dim")
    drawn.append(f"  {lines.get_top(widths)}\n", style="dim")
    for i in range(rows):
        drawn.append(f"{i} ", style="dim")
        for j in range(columns):
            text = cell((i, j))
            drawn.append(bar, style="dim").append(f"{text:^3}", style=colors.get(text, ""))
        edge = lines.get_row(widths) if i + 1 < rows else lines.get_bottom(widths)
        drawn.append(f"{bar}\n  {edge}\n", style="dim")
    drawn.rstrip()
    return drawn


def bar(console: Console, part: float, width: int) -> str:
    """A bar that fills `part` of `width` characters; anything above nothing shows."""
    if console.options.ascii_only:
        return "#" * (max(1, round(part * width)) if part > 0 else 0)
    eighths = max(1, round(part * width * 8)) if part > 0 else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _width(console: Console) -> int:
    return min(WIDTH, console.width)


def _box(console: Console, wanted: box.Box) -> box.Box:
    return box.ASCII2 if console.options.ascii_only else wanted
