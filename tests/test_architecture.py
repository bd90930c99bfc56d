"""The architecture, as a test: a file imports only from its own line of the tree and those above.

docs/ARCHITECTURE.md shows the same tree with a sentence for each line.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gossamer"
LAYERS = (
    "version errors checks ops geometry rulebook coords interpolation tensor voxels point_cloud "
    "nn capture models io tuning compat convert synthetic datasets training explain view doctor "
    "bench cli"
).split()
OPS = (
    "arrays threads register dispatch launch plans keys rulebooks conv pool points rows warm"
).split()
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LINES, FUNCTION_LINES, PARAMETERS = 400, 50, 7
# An option of a command is a parameter, and a layer takes what torch's layer takes.
OPEN = {("cli", "command"), ("nn", "__init__"), ("layers", "__init__"), ("arrays", "__init__")}
# What stands under another library's names takes what it takes there.
FOREIGN = tuple(
    PACKAGE / "compat" / name
    for name in "spconv spconv1 cumm torchsparse torchsparse14 minkowski mmcv.py".split()
)
# A kernel takes what the hardware takes, and an instruction sequence is as long as it is.
COMPILED = ("jit", "vectorize", "intrinsic", "overload")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every gossamer module that a file imports, at its top or in a function, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            # `from gossamer import nn` and `from gossamer.ops import conv` name modules too.
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (
            name for name in names if name.startswith(".") or name.split(".")[0] == "gossamer"
        )


def place(module: str) -> tuple[int, int]:
    """Where in the tree a module stands: its line, and inside ops its line there."""
    parts = [*module.split(".")[1:], "", ""]
    layer = "cli" if parts[0] == "__main__" else parts[0]
    assert layer in LAYERS, f"{module} is on no line of the tree"
    if layer != "ops" or not parts[1]:
        return LAYERS.index(layer), -1
    assert parts[1] in OPS, f"{module} is on no line of ops"
    return LAYERS.index(layer), OPS.index(parts[1])


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a file that the limits hold for: all but compiled ones and their makers."""
    every = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, FUNCTION)]
    yield from (f for f in every if not any(compiled(inside) for inside in ast.walk(f)))


def compiled(node: ast.AST) -> bool:
    decorators = node.decorator_list if isinstance(node, FUNCTION) else []
    return any(word in ast.unparse(decorator) for decorator in decorators for word in COMPILED)


@pytest.mark.parametrize("path", sources("gossamer"), ids=module_of)
def test_a_file_imports_only_from_its_own_line_and_the_lines_above(path):
    here = module_of(path)
    for there in imports(ast.parse(path.read_text())):
        assert not there.startswith("."), f"{here} imports {there}; write it in full"
        if here != "gossamer":
            assert place(there) <= place(here), f"{here} imports {there}, which is below it"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import gossamer.nn.conv", "gossamer.nn.conv"),
        ("import torch, gossamer.nn as layers", "gossamer.nn"),
        ("from gossamer import nn", "gossamer.nn"),
        ("from gossamer.ops.dispatch import select", "gossamer.ops.dispatch.select"),
        ("def f():\n    from gossamer.ops import conv", "gossamer.ops.conv"),
        ("from . import conv", "..conv"),
        ("from ..ops import conv", "..ops.conv"),
    ],
)
def test_an_import_is_seen_however_it_is_written(line, found):
    assert list(imports(ast.parse(line))) == [found]


def test_the_tree_is_read_downwards():
    assert place("gossamer.errors") < place("gossamer.ops.dispatch") < place("gossamer.ops.conv")
    assert place("gossamer.ops.conv.numba") < place("gossamer.nn") < place("gossamer.cli.demo")
    assert place("gossamer.__main__") == place("gossamer.cli")
    with pytest.raises(AssertionError, match="on no line of the tree"):
        place("gossamer.utils")


@pytest.mark.parametrize("path", sources("gossamer"), ids=module_of)
def test_a_module_opens_with_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())) or not path.stat().st_size


@pytest.mark.parametrize(
    "path", sources("gossamer", "tests", "examples", "benchmarks"), ids=module_of
)
def test_a_file_is_short(path):
    assert len(path.read_text().splitlines()) <= LINES, f"split it: {path.relative_to(ROOT)}"


@pytest.mark.parametrize("path", sources("gossamer"), ids=module_of)
def test_a_function_fits_a_screen(path):
    for function in functions(path):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{function.name} in {path.name} has {length} lines"


@pytest.mark.parametrize("path", sources("gossamer"), ids=module_of)
def test_a_function_takes_few_parameters(path):
    for function in functions(path):
        foreign = any(path.is_relative_to(folder) for folder in FOREIGN)
        # Nothing bundles what an op takes: its schema knows tensors and lists of numbers.
        foreign |= path.parent.parent.name == "ops"
        if foreign or (path.parent.name, function.name) in OPEN:
            continue
        wanted = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        count = sum(argument.arg not in ("self", "cls") for argument in wanted)
        assert count <= PARAMETERS, f"{function.name} in {path.name} has {count} parameters"


LOADED_BY_GOSSAMER = """
import sys
import torch, numpy, numba
before = set(sys.modules)
from gossamer import *
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
OWN_DEPENDENCIES = """
import re
from importlib.metadata import PackageNotFoundError, distribution
seen, waiting = set(), ["torch", "numpy", "numba"]
while waiting:
    name = re.sub("[-_.]+", "-", waiting.pop()).lower()
    if name not in seen:
        seen.add(name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        print(*{file.parts[0].removesuffix(".py") for file in package.files or ()})
        needs = [line for line in package.requires or () if "extra ==" not in line]
        waiting += [re.match(r"[\\w.-]+", line)[0] for line in needs]
"""


def words_printed_by(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_gossamer_loads_only_torch_numpy_numba_and_what_they_need():
    loaded = words_printed_by(LOADED_BY_GOSSAMER)
    allowed = words_printed_by(OWN_DEPENDENCIES)
    assert "gossamer" in loaded
    assert {"torch", "numpy", "numba", "llvmlite", "sympy"} <= allowed
    assert loaded - allowed - sys.stdlib_module_names <= {"gossamer"}
