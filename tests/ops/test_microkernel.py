"""What LLVM makes of the micro-kernels on every kind of machine, and what they compute there.

All numbers are whole and small enough for every sum to be exact, in any order; so a product that
is missing or doubled, or a number written where none belongs, is an inequality.
"""

import ctypes
import mmap
import multiprocessing
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest
import torch

import gossamer.ops.conv.numba as numba_conv
from gossamer.geometry import Geometry
from gossamer.ops.conv import conv, conv_fused, conv_weight_grad
from gossamer.ops.conv.emitter import Machine
from gossamer.ops.conv.microkernel import (
    CHAINS,
    Block,
    emit_depthwise,
    emit_depthwise_outer,
    emit_outer,
    emit_panel,
    emit_prefetch,
    emit_rows,
)
from gossamer.ops.dispatch import use_backend
from tests.ops import cross
from tests.scenes import scene

FLOATS = {32: np.float32, 64: np.float64}
LARGEST = {32: 1 << 8, 64: 1 << 22}  # so that 100 products and more are exact, but not in float32
COUNTS = (1, 3, 16, 33)
WALKING = (emit_panel, emit_outer, emit_depthwise, emit_depthwise_outer)  # all pairs
COMPUTING = (emit_rows, *WALKING)
MARGIN = 3  # rows and columns of every array that are nobody's
CASES = [(name, bits) for name in cross.TARGETS for bits in FLOATS]
# What this machine cannot run is held by the laws on its assembly alone.
RUNNING = [(name, bits) for name, bits in CASES if not cross.TARGETS[name].missing]
MULTIPLY = r"v?mul[ps][sd]\s|fmul\s"
FUSED = r"vfn?madd\w+[ps][sd]\s|fmla\s|fmadd\s"
ADD = r"v?add[ps][sd]\s|fadd\s"
PREFETCH = r"prefetch\w+\s|prfm\s"
STORE = r"v?mov[au]p[sd]\s+%[xyz]mm\d+, [^%]*\(|st[rp]\s+q"
FROM_THE_STACK = r"v?\w+p[sd]\s.*\(%rsp\), .*%[xyz]mm|ld[rp]\s+q.*\[sp"


@dataclass(frozen=True)
class Compiled:
    """What LLVM made of all micro-kernels."""

    target: cross.Target
    bits: int
    lines: dict[cross.Kernel, list[str]] = field(repr=False)

    def rounds(self, kernel: cross.Kernel) -> list[list[str]]:
        """The innermost loops in which the kernel does its work."""
        work = PREFETCH if kernel[0] is emit_prefetch else f"{FUSED}|{MULTIPLY}"
        loops = cross.innermost_loops(self.lines[kernel])
        return [loop for loop in loops if matching(loop, work)]

    def without(self, holds: Callable[..., bool], *emitters: Callable) -> list[str]:
        """The kernels in one of whose loops it does not hold, or which have none."""
        return [
            cross.name_of(*kernel)
            for kernel in self.lines
            if kernel[0] in emitters
            and not ((loops := self.rounds(kernel)) and all(holds(*kernel, i) for i in loops))
        ]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def compiled(request) -> Compiled:
    name, bits = request.param
    target = cross.TARGETS[name]
    return Compiled(target, bits, cross.assembly(target, bits))


def matching(lines: list[str], pattern: str) -> int:
    return sum(bool(re.match(pattern, line)) for line in lines)


@pytest.mark.parametrize("target", cross.TARGETS.values(), ids=cross.TARGETS)
def test_the_features_of_a_machine_say_how_wide_its_registers_are_and_how_many(target):
    assert Machine.of(set(target.features)) == target.machine


def test_a_compiled_kernel_calls_nothing(compiled):
    for lines in compiled.lines.values():
        goals = {cross.branch_target(line) for line in lines} - {""}
        assert goals  # the loop at least
        assert not [goal for goal in goals if not goal.startswith(".L")]


def test_the_inner_loop_multiplies_and_adds_in_whole_registers(compiled):
    register = compiled.target.register.format("4s" if compiled.bits == 32 else "2d")

    def holds(body: Callable, block: Block, loop: list[str]) -> bool:
        products = block.rows * block.vectors
        separate = CHAINS - 1 if body is emit_panel else 0
        separate = separate if compiled.target.fuses else products
        fused, multiplied, added = (matching(loop, i) for i in (FUSED, MULTIPLY, ADD))
        arithmetic = [i for i in loop if re.match(f"{FUSED}|{MULTIPLY}|{ADD}", i)]
        times = (fused + multiplied) // products  # unrolled so many times
        return (
            times >= 1
            and (fused, multiplied) == (times * (products - separate), times * separate)
            and multiplied == added
            and all(re.search(register, line) for line in arithmetic)
        )

    assert not compiled.without(holds, *COMPUTING)


def test_whole_blocks_stay_in_registers_inside_the_loop(compiled):
    def holds(body: Callable, block: Block, loop: list[str]) -> bool:
        times = matching(loop, f"{FUSED}|{MULTIPLY}") // (block.rows * block.vectors)
        results = times * {emit_panel: 1, emit_depthwise: block.vectors}.get(body, 0)
        # Without 256-bit integers the mask of a panel is made anew, and takes the room of weights.
        reads = compiled.target.fuses and matching(loop, FROM_THE_STACK)
        return block.partial or (matching(loop, STORE) <= results and not reads)

    assert not compiled.without(holds, *COMPUTING)


def test_rows_are_asked_for_before_their_turn(compiled):
    def every_row(body: Callable, block: Block, loop: list[str]) -> bool:
        return matching(loop, PREFETCH) % block.rows == 0

    def every_pair(body: Callable, block: Block, loop: list[str]) -> bool:
        # Where masks are branches, the loop is in several pieces.
        lines = compiled.lines[body, block] if block.masked else loop
        return matching(lines, PREFETCH) >= (2 if body is emit_outer else 1)

    assert not compiled.without(every_row, emit_prefetch)
    assert not compiled.without(every_pair, *WALKING)


@dataclass(frozen=True)
class Callables:
    """All micro-kernels as machine code of this process."""

    machine: Machine
    bits: int
    functions: dict[cross.Kernel, Callable[..., None]] = field(repr=False)

    def of(self, emitter: Callable) -> list[tuple[Block, Callable[..., None]]]:
        return [(block, f) for (body, block), f in self.functions.items() if body is emitter]

    def shapes(self, block: Block) -> list[tuple[int, int]]:
        """How many rows and columns the block may be asked for."""
        lanes = self.machine.vector_bytes * 8 // self.bits
        full = lanes * block.vectors
        columns = range(full - lanes + 1 if block.masked else full, full + 1)
        rows = range(1 if block.partial else block.rows, block.rows + 1)
        return list(product(rows, columns))


@pytest.fixture(scope="module", params=RUNNING, ids=lambda case: f"{case[0]}-{case[1]}")
def code(request) -> Iterator[Callables]:
    name, bits = request.param
    target = cross.TARGETS[name]
    with cross.functions(target, bits) as functions:
        yield Callables(target.machine, bits, functions)


class Numbers:
    """Arrays of whole numbers, none of them 0, of one float type."""

    def __init__(self, bits: int, most: int | None = None):
        self.rng, self.dtype = np.random.default_rng(0), FLOATS[bits]
        self.most = most or LARGEST[bits]

    def array(self, *shape: int) -> np.ndarray:
        values = self.rng.integers(1, self.most + 1, shape)
        return (values * self.rng.choice([-1, 1], shape)).astype(self.dtype)

    def rows(self, count: int, most: int, repeated: bool = False) -> np.ndarray:
        """A list of rows, in no order."""
        return self.rng.choice(most, count, replace=repeated).astype(np.int32)


def addresses(*arguments) -> list[int]:
    return [a.ctypes.data if isinstance(a, np.ndarray) else int(a) for a in arguments]


def test_rows_are_added_to_the_outputs_and_nothing_else_is_written(code):
    numbers = Numbers(code.bits)
    for block, run in code.of(emit_rows):
        for c_in, (count, columns) in product(COUNTS, code.shapes(block)):
            x = numbers.array(9, c_in + MARGIN)
            w, y = numbers.array(c_in, columns + MARGIN), numbers.array(30, columns + MARGIN)
            inputs, outputs = numbers.rows(block.rows, 9, True), numbers.rows(block.rows, 30)
            expected = y.copy()
            expected[outputs[:count], :columns] += x[inputs[:count], :c_in] @ w[:, :columns]
            sizes = (c_in, x.shape[1], w.shape[1], y.shape[1], columns, count)
            run(*addresses(x, inputs, w, y, outputs, *sizes))
            np.testing.assert_array_equal(y, expected)


def test_a_panel_adds_all_pairs_and_writes_nothing_else(code):
    numbers = Numbers(code.bits)
    runs = ((1, 1, 24), (2, 3, 24), (33, 33, 24), (33, 40, 2))
    for block, run in code.of(emit_panel):
        for (pairs, known, ahead), (_, columns) in product(runs, code.shapes(block)):
            x = numbers.array(9, block.rows + MARGIN)
            w, y = numbers.array(block.rows, columns + MARGIN), numbers.array(40, columns + MARGIN)
            inputs, outputs = numbers.rows(known, 9, True), numbers.rows(pairs, 40)
            expected = y.copy()
            expected[outputs, :columns] += x[inputs[:pairs], : block.rows] @ w[:, :columns]
            sizes = (pairs, x.shape[1], w.shape[1], y.shape[1], columns, ahead, known)
            run(*addresses(x, inputs, w, y, outputs, *sizes))
            np.testing.assert_array_equal(y, expected)


def test_outer_products_are_added_to_the_weight_and_nothing_else_is_written(code):
    numbers = Numbers(code.bits)
    for block, run in code.of(emit_outer):
        for pairs, (count, columns) in product(COUNTS, code.shapes(block)):
            x, g = numbers.array(9, block.rows + MARGIN), numbers.array(40, columns + MARGIN)
            w = numbers.array(block.rows + MARGIN, columns + MARGIN)
            # Twice as many rows as pairs, the others being asked for ahead.
            inputs, outputs = (numbers.rows(2 * pairs, most, True) for most in (9, 40))
            expected = w.copy()
            rows = x[inputs[:pairs], :count]
            expected[:count, :columns] += rows.T @ g[outputs[:pairs], :columns]
            sizes = (pairs, x.shape[1], g.shape[1], w.shape[1], columns, count)
            run(*addresses(x, inputs, g, outputs, w, *sizes, x, g, pairs))
            np.testing.assert_array_equal(w, expected)


def test_depthwise_products_are_added_to_the_outputs_and_nothing_else_is_written(code):
    numbers = Numbers(code.bits)
    for block, run in code.of(emit_depthwise):
        for pairs, (_, columns) in product(COUNTS, code.shapes(block)):
            x, y = numbers.array(9, columns + MARGIN), numbers.array(40, columns + MARGIN)
            w = numbers.array(columns + MARGIN)
            inputs, outputs = numbers.rows(pairs, 9, True), numbers.rows(pairs, 40)
            expected = y.copy()
            expected[outputs, :columns] += x[inputs, :columns] * w[:columns]
            sizes = (pairs, x.shape[1], y.shape[1], columns, 0)
            run(*addresses(x, inputs, w, y, outputs, *sizes))
            np.testing.assert_array_equal(y, expected)


def test_depthwise_products_are_added_to_the_weight_and_nothing_else_is_written(code):
    numbers = Numbers(code.bits)
    for block, run in code.of(emit_depthwise_outer):
        for pairs, (_, columns) in product(COUNTS, code.shapes(block)):
            x, g = numbers.array(9, columns + MARGIN), numbers.array(40, columns + MARGIN)
            w = numbers.array(columns + MARGIN)
            inputs, outputs = (numbers.rows(pairs, most, True) for most in (9, 40))
            expected = w.copy()
            expected[:columns] += (x[inputs, :columns] * g[outputs, :columns]).sum(0)
            sizes = (pairs, x.shape[1], g.shape[1], columns, 0)
            run(*addresses(x, inputs, w, g, outputs, *sizes))
            np.testing.assert_array_equal(w, expected)


def test_a_row_that_is_asked_for_may_be_anywhere(code):
    for block, run in code.of(emit_prefetch):
        far = np.full(block.rows, np.iinfo(np.int32).max, np.int32)
        run(0, far.ctypes.data, 1 << 20, 5)


def fenced(values: torch.Tensor) -> torch.Tensor:
    """The same numbers, right before a page of memory that nobody may touch."""
    size = values.numel() * values.element_size()
    room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + mmap.PAGESIZE)
    fence = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + room
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), mmap.PAGESIZE, 0) == 0
    raw = torch.from_numpy(np.frombuffer(memory, np.uint8, size, room - size))
    return raw.view(values.dtype).view(values.shape).copy_(values)


def compute_beside_fences(width: tuple[int, int, int], bits: int) -> None:
    c_in, c_out, groups = width
    geometry = Geometry.of("regular", 2, kernel_size=3, stride=2, padding=1)
    rulebook = scene(2, 2000, side=60, batch=1).sites.rulebook(geometry)
    shapes = (2000, c_in), (9, c_in // groups, c_out), (rulebook.outputs, c_out)
    numbers = Numbers(bits, 1 << 4)
    x, weight, grad = (torch.from_numpy(numbers.array(*shape)) for shape in shapes)

    def compute(place: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        a, w, g, lists = place(x), place(weight), place(grad), [*map(place, rulebook.layout)]
        last = place(w[0, 0]), place(w[1, 0]), g, "relu", 0.0
        return [
            conv(a, w, lists, [], len(g), groups),
            conv_fused(a, w, lists, len(g), groups, *last),
            conv_weight_grad(a, g, lists, [], groups),
        ]

    with use_backend("reference"):
        expected = compute(torch.clone)
    numba_conv.fresh = lambda rows, columns, dtype: fenced(torch.empty(rows, columns, dtype=dtype))
    torch.Tensor.new_zeros = lambda self, *shape, dtype: fenced(torch.zeros(shape, dtype=dtype))
    with use_backend("numba"):
        assert all(map(torch.equal, compute(fenced), expected))


@pytest.mark.skipif(sys.platform != "linux", reason="fences are made in Linux's way")
@pytest.mark.parametrize("bits", FLOATS)
# A vector with few lanes, weights that stay in registers, every block and a rest, depthwise.
@pytest.mark.parametrize(
    "width", [(1, 1, 1), (3, 5, 1), (48, 21, 1), (33, 117, 1), (21, 35, 7), (83, 83, 83)], ids=str
)
def test_nothing_is_read_or_written_past_the_end_of_an_array(width, bits):
    # In a process of its own, which the fence kills.
    run = multiprocessing.get_context("fork").Process
    child = run(target=compute_beside_fences, args=(width, bits))
    child.start()
    child.join()
    assert child.exitcode == 0
