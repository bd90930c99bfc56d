"""Register-blocked inner loops of convolution, emitted as LLVM IR through Numba.

A micro-kernel multiplies a handful of gathered rows with a panel of weights and keeps the whole
result in vector registers; it reads rows through the pair lists, so nothing is copied together
first. Numba alone does not block for registers. The block sizes depend on the vector width of the
machine and on nothing else: one set of kernels serves every channel count, columns that do not
fill a vector being masked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gossamer.ops.conv.emitter import I64, Emitter, Loop, Machine

# Two multiply-adds start in a cycle and each takes four: fewer sums than this leave gaps.
SUMS_IN_FLIGHT = 8
# Of one row, so that its sum is not a single long chain; the next row's overlap with it.
CHAINS = 4


@dataclass(frozen=True)
class Block:
    """What a micro-kernel keeps in registers: `rows` rows of `vectors` vectors.

    Where `masked`, only so many columns of the last vector as the caller says; where `partial`,
    only so many rows.
    """

    rows: int
    vectors: int
    masked: bool = False
    partial: bool = False

    @classmethod
    def sizes(cls, machine: Machine) -> tuple["Block", "Block", "Block", "Block"]:
        """Blocks that fill the registers but for the operands, from the widest to the narrowest."""
        if machine.registers == 32:
            return cls(6, 4), cls(8, 3), cls(12, 2), cls(12, 1, masked=True)
        # More vectors of weights would leave too few registers for sums.
        return cls(6, 2), cls(6, 2), cls(6, 2), cls(6, 1, masked=True)

    @classmethod
    def panel(cls, machine: Machine) -> "Block":
        """Weights that stay in half of the registers."""
        return cls(machine.registers // 2, 1, masked=True)

    @classmethod
    def outer_sizes(cls, machine: Machine) -> tuple["Block", "Block", "Block", "Block"]:
        """The same for the weight gradient, with rows that often divide the number of channels."""
        if machine.registers == 32:
            return cls(6, 4), cls(8, 3), cls(8, 2), cls(16, 1, masked=True)
        return cls(6, 2), cls(6, 2), cls(6, 2), cls(8, 1, masked=True)

    @property
    def rest(self) -> "Block":
        """For rows too few for this block: small, yet as quick a round as a single row."""
        rows = min(self.rows, SUMS_IN_FLIGHT // self.vectors)
        return replace(self, rows=rows, partial=True)

    def places(self, emit: Emitter, count: ir.Value) -> tuple[list, Callable[[list], list]]:
        """Indices of the rows, and what turns the addresses to write rows at into safe ones.

        The rows that a partial block has too many repeat its last one, and go where nobody reads.
        """
        b, rows = emit.builder, [ir.Constant(I64, i) for i in range(self.rows)]
        if not self.partial:
            return rows, lambda addresses: addresses
        spare, last = emit.spare(self.vectors), b.sub(count, ir.Constant(I64, 1))
        there = [b.icmp_signed("<", i, count) for i in rows]
        rows = [b.select(t, i, last) for t, i in zip(there, rows, strict=True)]
        return rows, lambda addresses: [
            b.select(t, a, spare) for t, a in zip(there, addresses, strict=True)
        ]


def emit_rows(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of y[outputs[i], :] += x[inputs[i], :] @ w for `block.rows` pairs i.

    Args:
        emit: where to.
        block: rows and columns.
        arguments: x, inputs, w, y, outputs, c_in, ldx, ldw, ldy, lanes, count, all int64:
            addresses, counts and leading sizes in elements; `lanes` is how many columns a masked
            block has, `count` how many pairs a partial one.
    """
    x, inputs, w, y, outputs, c_in, ldx, ldw, ldy, lanes, count = arguments
    builder, rows, vectors = emit.builder, range(block.rows), range(block.vectors)
    if block.masked:
        emit.keep_lanes(lanes)
    pair, safe = block.places(emit, count)
    source = [emit.row_of(x, inputs, i, ldx) for i in pair]
    target = safe([emit.row_of(y, outputs, i, ldy) for i in pair])
    zero = ir.Constant(emit.vector, [0.0] * emit.lanes)
    loop = Loop(emit, c_in, [zero] * (block.rows * block.vectors))
    panel = emit.element(w, builder.mul(loop.index, ldw))
    weights = [emit.load(panel, v) for v in vectors]
    sums = []
    for i in rows:
        value = emit.scalar_at(emit.element(source[i], loop.index))
        for v in vectors:
            sums.append(emit.fma(value, weights[v], loop.carried[i * block.vectors + v]))
    loop.close(sums)
    for i in rows:
        for v in vectors:
            total = builder.fadd(emit.load(target[i], v), sums[i * block.vectors + v])
            emit.store(total, target[i], v)


def emit_panel(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of y[outputs[p], :] += x[inputs[p], :] @ w for all pairs p, `block.rows` rows of w.

    The panel of weights stays in registers, so pairs need not come in blocks. Where there is one
    vector of columns that beats `emit_rows`, which has little to do between reading its rows and
    writing its results.

    Args:
        emit: where to.
        block: rows of w and columns.
        arguments: x, inputs, w, y, outputs, pairs, ldx, ldw, ldy, lanes, as in `emit_rows`; then
            ahead, known: row inputs[p + ahead] is asked for, or the last of `known` ones.
    """
    x, inputs, w, y, outputs, pairs, ldx, ldw, ldy, lanes, ahead, known = arguments
    b = emit.builder
    if block.masked:
        emit.keep_lanes(lanes)
    row = [ir.Constant(I64, i) for i in range(block.rows)]
    weights = [emit.load(emit.element(w, b.mul(i, ldw)), 0) for i in row]
    last = b.sub(known, ir.Constant(I64, 1))
    loop = Loop(emit, pairs, [])
    later = b.add(loop.index, ahead)
    later = b.select(b.icmp_signed("<", later, last), later, last)
    emit.prefetch(emit.row_of(x, inputs, later, ldx))
    source = emit.row_of(x, inputs, loop.index, ldx)
    target = emit.row_of(y, outputs, loop.index, ldy)
    sums = [emit.load(target, 0)]
    for i in range(block.rows):
        value = emit.scalar_at(emit.element(source, row[i]))
        if len(sums) < CHAINS:
            sums.append(b.fmul(value, weights[i]))
        else:
            sums.append(emit.fma(value, weights[i], sums.pop(0)))
    while len(sums) > 1:
        sums.append(b.fadd(sums.pop(0), sums.pop(0)))
    emit.store(sums[0], target, 0)
    loop.close([])


def emit_outer(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of w[i, :] += sum over pairs of x[input, i] * g[output, :], for `block.rows` rows i of w.

    Args:
        emit: where to.
        block: rows and columns.
        arguments: x, inputs, g, outputs, w, pairs, ldx, ldg, ldw, lanes, count, as in `emit_rows`,
            `count` being how many rows of w a partial block has; then x_line, g_line, ahead: for
            every pair p a cache line of the rows of pair p + ahead is asked for, as if x and g
            began at these addresses.
    """
    x, inputs, g, outputs, w, pairs, ldx, ldg, ldw, lanes, count, x_line, g_line, ahead = arguments
    builder, rows, vectors = emit.builder, range(block.rows), range(block.vectors)
    if block.masked:
        emit.keep_lanes(lanes)
    row, safe = block.places(emit, count)
    target = safe([emit.element(w, builder.mul(i, ldw)) for i in row])
    before = [emit.load(target[i], v) for i in rows for v in vectors]
    loop = Loop(emit, pairs, before)
    source = emit.row_of(x, inputs, loop.index, ldx)
    other = emit.row_of(g, outputs, loop.index, ldg)
    columns = [emit.load(other, v) for v in vectors]
    later = builder.add(loop.index, ahead)
    emit.prefetch(emit.row_of(x_line, inputs, later, ldx))
    emit.prefetch(emit.row_of(g_line, outputs, later, ldg))
    sums = []
    for i in rows:
        value = emit.scalar_at(emit.element(source, row[i]))
        for v in vectors:
            sums.append(emit.fma(value, columns[v], loop.carried[i * block.vectors + v]))
    loop.close(sums)
    for i in rows:
        for v in vectors:
            emit.store(sums[i * block.vectors + v], target[i], v)


def emit_depthwise(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of y[outputs[p], :] += x[inputs[p], :] * w for all pairs p.

    Args:
        emit: where to.
        block: columns; the weights of one row stay in registers.
        arguments: x, inputs, w, y, outputs, pairs, ldx, ldy, lanes, as in `emit_rows`; then ahead:
            the row of pair p + ahead is asked for.
    """
    x, inputs, w, y, outputs, pairs, ldx, ldy, lanes, ahead = arguments
    vectors = range(block.vectors)
    if block.masked:
        emit.keep_lanes(lanes)
    weights = [emit.load(w, v) for v in vectors]
    loop = Loop(emit, pairs, [])
    source = emit.row_of(x, inputs, loop.index, ldx)
    target = emit.row_of(y, outputs, loop.index, ldy)
    emit.prefetch(emit.row_of(x, inputs, emit.builder.add(loop.index, ahead), ldx))
    for v in vectors:
        emit.store(emit.fma(emit.load(source, v), weights[v], emit.load(target, v)), target, v)
    loop.close([])


def emit_depthwise_outer(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of w += sum over pairs p of x[inputs[p], :] * g[outputs[p], :].

    Args:
        emit: where to.
        block: columns.
        arguments: x, inputs, w, g, outputs, pairs, ldx, ldg, lanes, ahead, as in `emit_depthwise`.
    """
    x, inputs, w, g, outputs, pairs, ldx, ldg, lanes, ahead = arguments
    vectors = range(block.vectors)
    if block.masked:
        emit.keep_lanes(lanes)
    loop = Loop(emit, pairs, [emit.load(w, v) for v in vectors])
    source = emit.row_of(x, inputs, loop.index, ldx)
    other = emit.row_of(g, outputs, loop.index, ldg)
    emit.prefetch(emit.row_of(x, inputs, emit.builder.add(loop.index, ahead), ldx))
    sums = [emit.fma(emit.load(source, v), emit.load(other, v), loop.carried[v]) for v in vectors]
    loop.close(sums)
    for v in vectors:
        emit.store(sums[v], w, v)


def emit_prefetch(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR that asks for rows x[inputs[i], :] of `block.rows` pairs i before they are needed.

    Args:
        emit: where to.
        block: rows.
        arguments: x, inputs, ldx, lines: the last is how many cache lines a row has.
    """
    x, inputs, ldx, lines = arguments
    b = emit.builder
    pair = [ir.Constant(I64, i) for i in range(block.rows)]
    source = [emit.row_of(x, inputs, i, ldx) for i in pair]
    loop = Loop(emit, lines, [])
    for row in source:
        emit.prefetch(b.add(row, b.shl(loop.index, ir.Constant(I64, 6))))
    loop.close([])


def kernel(body: Callable[[Emitter, Block, list[ir.Value]], None], block: Block):
    """A function that Numba code can call: `body` on arrays of the type of its first argument.

    It takes (array, *arguments of the body): the array for its float type alone.
    """

    @intrinsic
    def call(context, like, *arguments):
        signature = types.void(like, types.StarArgTuple.from_types(arguments))

        def generate(context, builder, signature, arguments):
            emit = Emitter(builder, signature.args[0].dtype.bitwidth)
            body(emit, block, cgutils.unpack_tuple(builder, arguments[1]))
            return context.get_dummy_value()

        return signature, generate

    return call
