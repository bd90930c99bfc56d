"""Follows the names of other libraries through a file: imports, aliases, attributes."""

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gossamer.compat.dropin.coverage import library_of, public_names
from gossamer.compat.dropin.modules import Codebase
from gossamer.compat.dropin.uses import (
    ATTRIBUTE_ERRORS,
    IMPORT_ERRORS,
    Place,
    Symbols,
    Use,
    caught_by,
    names_caught,
    suppressed_by,
)

Scope = dict[str, Symbols]


class Names(ast.NodeVisitor):
    """Reads one file.

    Attributes:
        uses: every use of a name of another library.
        exports: what other files get when they import names of this one.
    """

    def __init__(self, path: Path, tree: ast.Module, codebase: Codebase):
        self.uses: list[Use] = []
        self.exports: Scope = {}
        self._path = path
        self._codebase = codebase
        self._scopes: list[Scope] = [self.exports]
        self._place = Place()
        self._tried: list[Symbols] = []
        # Names that came by `from x import *`, whose import does not say which are used.
        self._starred: set[str] = set()
        self._waiting: list[tuple[list[ast.stmt], list[Scope], Place]] = []
        self.visit(tree)
        # A function runs after its module, so it sees what stands below it.
        while self._waiting:
            body, self._scopes, self._place = self._waiting.pop(0)
            self._visit_all(body)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if library_of(alias.name):
                self._imports(alias.lineno, (alias.name,))
            elif top != "torch":
                if alias.asname and (module := self._codebase.module(self._path, alias.name, 0)):
                    self._bind(alias.asname, (module,))
                continue
            self._bind(*((alias.asname, (alias.name,)) if alias.asname else (top, (top,))))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = node.module or ""
        if node.level == 0 and (library_of(origin) or origin in ("torch", "torch.ops")):
            self._from_library(node, origin)
            return
        there = self._codebase.module(self._path, origin, node.level)
        exports = self._codebase.exports.get(there or "", {})
        for alias in node.names:
            below = f"{origin}.{alias.name}".lstrip(".")
            if alias.name == "*":
                for name, symbols in exports.items():
                    self._bind(name, symbols)
                    self._starred.add(name)
            elif symbols := exports.get(alias.name):
                self._imports(alias.lineno, symbols)
                self._bind(alias.asname or alias.name, symbols)
            elif module := self._codebase.module(self._path, below, node.level):
                self._bind(alias.asname or alias.name, (module,))

    def _from_library(self, node: ast.ImportFrom, origin: str) -> None:
        for alias in node.names:
            if alias.name == "*":
                self._imports(alias.lineno, (origin,))
                for name in public_names(origin):
                    self._bind(name, (f"{origin}.{name}",))
                    self._starred.add(name)
                continue
            symbol = f"{origin}.{alias.name}"
            if library_of(symbol):
                self._imports(alias.lineno, (symbol,))
            self._bind(alias.asname or alias.name, (symbol,))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        symbols = self._symbols(node.value)
        for target in node.targets:
            if symbols and isinstance(target, ast.Name):
                self._bind(target.id, symbols)
            else:
                self.visit(target)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if symbols := self._symbols(node):
            self._touches(node.lineno, symbols)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        symbols = self._symbols(node)
        asks = isinstance(node.func, ast.Name) and node.func.id == "hasattr"
        if symbols and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            self._touches(node.lineno, symbols, asks or len(node.args) > 2)
        elif symbols:
            self._imports(node.lineno, symbols)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            if node.id in self._starred and (symbols := self._symbols(node)):
                self._touches(node.lineno, symbols)
        elif len(self._scopes) > 1:
            # A variable of the function hides what the module calls by that name.
            self._scopes[-1].setdefault(node.id, ())

    def visit_Try(self, node: ast.Try) -> None:
        outer, tried = self._place, self._tried
        self._tried = []
        self._place = replace(outer, caught=outer.caught | caught_by(node.handlers))
        self._visit_all(node.body)
        attempt = tuple(self._tried)
        self._place, self._tried = outer, tried
        for handler in node.handlers:
            if attempt and set(names_caught(handler)) & IMPORT_ERRORS:
                self._place = replace(outer, instead_of=(*outer.instead_of, attempt))
            self._visit_all(handler.body)
            self._place = outer
        self._visit_all([*node.orelse, *node.finalbody])

    visit_TryStar = visit_Try

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        outer = self._place
        self._place = replace(outer, caught=outer.caught | suppressed_by(node))
        self.generic_visit(node)
        self._place = outer

    visit_AsyncWith = visit_With

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outside in (*node.decorator_list, node.args, node.returns):
            if outside is not None:
                self.visit(outside)
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parameters: Scope = {argument.arg: () for argument in taken}
        place = Place(instead_of=self._place.instead_of)
        self._waiting.append((node.body, [*self._scopes, parameters], place))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        self._scopes = [*self._scopes, {}]
        self._visit_all(node.body)
        self._scopes = self._scopes[:-1]

    def _visit_all(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    def _imports(self, line: int, symbols: Symbols) -> None:
        if any(map(library_of, symbols)):
            self._tried.append(symbols)
            self._use(line, symbols, self._place.catches(IMPORT_ERRORS))

    def _touches(self, line: int, symbols: Symbols, caught: bool = False) -> None:
        self._use(line, symbols, caught or self._place.catches(ATTRIBUTE_ERRORS))

    def _use(self, line: int, symbols: Symbols, caught: bool) -> None:
        if theirs := tuple(filter(library_of, symbols)):
            self.uses.append(Use(line, theirs, caught, self._place.instead_of))

    def _bind(self, name: str, symbols: Symbols) -> None:
        # What was bound before is kept, since an `if` or a failure may have come between; but the
        # likeliest comes first: the latest, or what a `try` did before its `except`.
        before = self._scopes[-1].get(name, ())
        both = (*before, *symbols) if self._place.instead_of else (*symbols, *before)
        self._scopes[-1][name] = tuple(dict.fromkeys(both))

    def _symbols(self, node: ast.expr) -> Symbols:
        """What an expression may name, in full; nothing for what has no name."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in self._scopes[::-1] if node.id in scope), ())
        if isinstance(node, ast.Attribute):
            return self._below(self._symbols(node.value), node.attr)
        if not isinstance(node, ast.Call):
            return ()
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        words = [word for word in words if isinstance(word, str)]
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in ("getattr", "hasattr") and len(node.args) > 1 and words:
            return self._below(self._symbols(node.args[0]), words[0])
        if called in ("import_module", "__import__") and words and library_of(words[0]):
            return (words[0],)
        return ()

    def _below(self, symbols: Symbols, name: str) -> Symbols:
        """What `name` is in each of them, be it a library's or a file of this code base."""
        found: list[str] = []
        for symbol in symbols:
            exports: Mapping[str, Symbols] | None = self._codebase.exports.get(symbol)
            found += [f"{symbol}.{name}"] if exports is None else exports.get(name, ())
        return tuple(dict.fromkeys(found))
