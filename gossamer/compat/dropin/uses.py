"""A name of another library where a program uses it, and what the program does if it is missing."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
# That all exceptions are caught around a training loop doesn't mean that it can do without a name.
ATTRIBUTE_ERRORS = {"AttributeError"}

Symbols = tuple[str, ...]


@dataclass(frozen=True)
class Use:
    """One use of a name.

    Attributes:
        line: of the tree.
        symbols: the name in full; several where it depends on which of several imports succeeded.
        caught: whether the program goes on if it is missing.
        instead_of: for each `except ImportError` around it, what the `try` imports: if all of that
            is there, nobody comes here.
    """

    line: int
    symbols: Symbols
    caught: bool
    instead_of: tuple[tuple[Symbols, ...], ...]


@dataclass(frozen=True)
class Place:
    """What surrounds a line.

    Attributes:
        caught: the names of exceptions that are caught here.
        instead_of: see `Use`.
    """

    caught: frozenset[str] = frozenset()
    instead_of: tuple[tuple[Symbols, ...], ...] = ()

    def catches(self, errors: set[str]) -> bool:
        """Whether one of these errors is caught."""
        return bool(self.caught & errors)


def caught_by(handlers: list[ast.ExceptHandler]) -> frozenset[str]:
    """The names of the exceptions that handlers catch."""
    return frozenset(name for handler in handlers for name in names_caught(handler))


def names_caught(handler: ast.ExceptHandler) -> Iterator[str]:
    """The exceptions of one handler; one that names none catches all."""
    if handler.type is None:
        yield "BaseException"
        return
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    yield from (ast.unparse(kind).rpartition(".")[2] for kind in kinds)


def suppressed_by(node: ast.With | ast.AsyncWith) -> frozenset[str]:
    """The names of the exceptions that `with suppress(...)` swallows."""
    calls = [item.context_expr for item in node.items]
    return frozenset(
        ast.unparse(kind).rpartition(".")[2]
        for call in calls
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("suppress")
        for kind in call.args
    )
