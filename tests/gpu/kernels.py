"""Which kernels there are: those that the host starts, and those that multiply matrices."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

OPS = Path(__file__).parents[2] / "gossamer" / "ops"


def _jitted(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            if any("triton.jit" in ast.unparse(each) for each in node.decorator_list):
                yield node


def _functions() -> list[tuple[str, ast.FunctionDef]]:
    return [
        (path.relative_to(OPS).parts[0], f) for path in OPS.rglob("*.py") for f in _jitted(path)
    ]


def _names_in(function: ast.FunctionDef) -> set[str]:
    return {
        node.id for part in function.body for node in ast.walk(part) if isinstance(node, ast.Name)
    }


@cache
def started() -> set[str]:
    """Family and name of every jitted function that no other jitted one calls."""
    functions = _functions()
    called = set().union(*(_names_in(function) for _, function in functions))
    return {f"{family}.{f.name}" for family, f in functions if f.name not in called}


@cache
def multiplying() -> set[str]:
    """Those that call tl.dot themselves."""
    return {f"{family}.{f.name}" for family, f in _functions() if "tl.dot(" in ast.unparse(f)}
