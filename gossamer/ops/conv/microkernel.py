"""Register-blocked inner loops of convolution, emitted as LLVM IR through Numba.

A micro-kernel multiplies a handful of gathered rows with a panel of weights and keeps the whole
result in vector registers; it reads rows through the pair lists, so nothing is copied together
first. Numba alone does not block for registers. The block sizes depend on the vector width of the
machine and on nothing else: one set of kernels serves every channel count, columns that do not
fill a vector being masked.
"""

from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I32, I64 = ir.IntType(32), ir.IntType(64)


@dataclass(frozen=True)
class Machine:
    """What decides block sizes.

    Args:
        vector_bytes: 64 with AVX-512, 32 with AVX, else 16 (SSE, NEON).
        registers: how many vector registers there are.
    """

    vector_bytes: int
    registers: int

    @classmethod
    def host(cls) -> "Machine":
        """This machine, from the CPU features that LLVM reports."""
        features = llvm.get_host_cpu_features()
        if features.get("avx512f"):
            return cls(64, 32)
        if features.get("avx"):
            return cls(32, 16)
        return cls(16, 32 if features.get("neon") else 16)


HOST = Machine.host()


@dataclass(frozen=True)
class Block:
    """What a micro-kernel keeps in registers: `rows` rows of `vectors` vectors.

    Where `masked`, only so many columns of the last vector as the caller says.
    """

    rows: int
    vectors: int
    masked: bool = False

    @classmethod
    def sizes(cls, machine: Machine) -> tuple["Block", "Block", "Block"]:
        """The wide, medium and narrow block that fill the registers but for the operands."""
        rows = (6, 12, 12) if machine.registers == 32 else (3, 6, 6)
        return cls(rows[0], 4), cls(rows[1], 2), cls(rows[2], 1, masked=True)


class Emitter:
    """IR for arrays of one float type, read and written in vectors of `lanes`."""

    def __init__(self, builder: ir.IRBuilder, bits: int, machine: Machine = HOST):
        self.builder = builder
        self.bytes = bits // 8
        self.lanes = machine.vector_bytes // self.bytes
        self.scalar = ir.FloatType() if bits == 32 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{bits}"
        self.mask: ir.Value | None = None

    def keep_lanes(self, count: ir.Value) -> None:
        """From here on touch only the first `count` lanes of memory."""
        b = self.builder
        steps = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        self.mask = b.icmp_signed("<", steps, self.splat(count))

    def splat(self, value: ir.Value) -> ir.Value:
        b, vector = self.builder, ir.VectorType(value.type, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = b.insert_element(undefined, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return b.shuffle_vector(first, undefined, zeros)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.builder.call(
            self._intrinsic("llvm.fma", self.vector, [self.vector] * 3), [a, b, c]
        )

    def load(self, address: ir.Value, vector: int) -> ir.Value:
        pointer = self._vector_pointer(address, vector)
        if self.mask is not None:
            mask, align = self.vector_of_bits(), ir.Constant(I32, self.bytes)
            kinds = [pointer.type, I32, mask, self.vector]
            function = self._intrinsic("llvm.masked.load", self.vector, kinds, ".p0")
            zero = ir.Constant(self.vector, [0.0] * self.lanes)
            return self.builder.call(function, [pointer, align, self.mask, zero])
        value = self.builder.load(pointer)
        value.align = self.bytes
        return value

    def store(self, value: ir.Value, address: ir.Value, vector: int) -> None:
        pointer = self._vector_pointer(address, vector)
        if self.mask is not None:
            mask, align = self.vector_of_bits(), ir.Constant(I32, self.bytes)
            kinds = [self.vector, pointer.type, I32, mask]
            function = self._intrinsic("llvm.masked.store", ir.VoidType(), kinds, ".p0")
            self.builder.call(function, [value, pointer, align, self.mask])
            return
        self.builder.store(value, pointer).align = self.bytes

    def vector_of_bits(self) -> ir.Type:
        return ir.VectorType(ir.IntType(1), self.lanes)

    def element(self, base: ir.Value, index: ir.Value) -> ir.Value:
        """The address of element `index` of the floats at `base`."""
        b = self.builder
        return b.add(base, b.mul(index, ir.Constant(I64, self.bytes)))

    def scalar_at(self, address: ir.Value) -> ir.Value:
        b = self.builder
        return self.splat(b.load(b.inttoptr(address, self.scalar.as_pointer())))

    def index_at(self, base: ir.Value, position: ir.Value) -> ir.Value:
        """Entry `position` of the int32 list at `base`, as int64."""
        b = self.builder
        address = b.add(base, b.shl(position, ir.Constant(I64, 2)))
        return b.sext(b.load(b.inttoptr(address, I32.as_pointer())), I64)

    def _vector_pointer(self, address: ir.Value, vector: int) -> ir.Value:
        b, offset = self.builder, ir.Constant(I64, vector * self.lanes * self.bytes)
        return b.inttoptr(b.add(address, offset), self.vector.as_pointer())

    def _intrinsic(self, name: str, result: ir.Type, kinds: list, pointer: str = "") -> ir.Function:
        full = f"{name}.{self.suffix}{pointer}"
        known = self.builder.module.globals.get(full)
        return known or ir.Function(self.builder.module, ir.FunctionType(result, kinds), full)


class Loop:
    """A counted loop that carries accumulators in registers from round to round."""

    def __init__(self, emit: Emitter, count: ir.Value, initial: list[ir.Value]):
        b = self.builder = emit.builder
        self.count = count
        before = b.block
        self.body = b.function.append_basic_block("body")
        self.after = b.function.append_basic_block("after")
        b.branch(self.body)
        b.position_at_end(self.body)
        self.index = b.phi(I64)
        self.index.add_incoming(ir.Constant(I64, 0), before)
        self.carried = [b.phi(value.type) for value in initial]
        for phi, value in zip(self.carried, initial, strict=True):
            phi.add_incoming(value, before)

    def close(self, updated: list[ir.Value]) -> None:
        b = self.builder
        following = b.add(self.index, ir.Constant(I64, 1))
        self.index.add_incoming(following, b.block)
        for phi, value in zip(self.carried, updated, strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, self.count), self.body, self.after)
        b.position_at_end(self.after)


def emit_rows(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of y[outputs[i], :] += x[inputs[i], :] @ w for `block.rows` pairs i.

    Args:
        emit: where to.
        block: rows and columns.
        arguments: x, inputs, w, y, outputs, c_in, ldx, ldw, ldy, lanes, all int64: addresses,
            counts and leading sizes in elements; `lanes` is how many columns a masked block has.
    """
    x, inputs, w, y, outputs, c_in, ldx, ldw, ldy, lanes = arguments
    builder, rows, vectors = emit.builder, range(block.rows), range(block.vectors)
    if block.masked:
        emit.keep_lanes(lanes)
    pair = [ir.Constant(I64, i) for i in rows]
    source = [emit.element(x, builder.mul(emit.index_at(inputs, i), ldx)) for i in pair]
    target = [emit.element(y, builder.mul(emit.index_at(outputs, i), ldy)) for i in pair]
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


def emit_outer(emit: Emitter, block: Block, arguments: list[ir.Value]) -> None:
    """IR of w[i, :] += sum over pairs of x[input, i] * g[output, :], for `block.rows` rows i of w.

    Args:
        emit: where to.
        block: rows and columns.
        arguments: x, inputs, g, outputs, w, pairs, ldx, ldg, ldw, lanes, as in `emit_rows`.
    """
    x, inputs, g, outputs, w, pairs, ldx, ldg, ldw, lanes = arguments
    builder, rows, vectors = emit.builder, range(block.rows), range(block.vectors)
    if block.masked:
        emit.keep_lanes(lanes)
    row = [ir.Constant(I64, i) for i in rows]
    target = [emit.element(w, builder.mul(i, ldw)) for i in row]
    before = [emit.load(target[i], v) for i in rows for v in vectors]
    loop = Loop(emit, pairs, before)
    source = emit.element(x, builder.mul(emit.index_at(inputs, loop.index), ldx))
    other = emit.element(g, builder.mul(emit.index_at(outputs, loop.index), ldg))
    columns = [emit.load(other, v) for v in vectors]
    sums = []
    for i in rows:
        value = emit.scalar_at(emit.element(source, row[i]))
        for v in vectors:
            sums.append(emit.fma(value, columns[v], loop.carried[i * block.vectors + v]))
    loop.close(sums)
    for i in rows:
        for v in vectors:
            emit.store(sums[i * block.vectors + v], target[i], v)


def kernel(body: Callable[[Emitter, Block, list[ir.Value]], None], block: Block):
    """A function that Numba code can call: `body` on arrays of the type of its first argument.

    It takes (array, *arguments of the body): the array for its float type alone.
    """

    @intrinsic
    def call(context, like, a, b, c, d, e, f, g, h, i, j):
        signature = types.void(like, *[types.int64] * 10)

        def generate(context, builder, signature, arguments):
            emit = Emitter(builder, signature.args[0].dtype.bitwidth)
            body(emit, block, list(arguments[1:]))
            return context.get_dummy_value()

        return signature, generate

    return call
