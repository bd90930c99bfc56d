"""LLVM IR for arithmetic on vector registers: what the micro-kernels are written in."""

import platform
from dataclasses import dataclass

from llvmlite import ir
from numba.core import config
from numba.core.codegen import get_host_cpu_features

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


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
        """This machine, from the CPU features that Numba compiles for."""
        named = getattr(config, "CPU_FEATURES", None) or get_host_cpu_features()
        features = {feature[1:] for feature in named.split(",") if feature.startswith("+")}
        # Every 64-bit ARM has NEON, whether LLVM can list its features or not.
        return cls.of(
            features | ({"neon"} if platform.machine() in ("arm64", "aarch64") else set())
        )

    @classmethod
    def of(cls, features: set[str]) -> "Machine":
        """The machine that has these CPU features, by LLVM's names."""
        if "avx512f" in features:
            return cls(64, 32)
        if "avx" in features:
            return cls(32, 16)
        return cls(16, 32 if "neon" in features else 16)


HOST = Machine.host()


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

    def spare(self, vectors: int) -> ir.Value:
        """The address of room for so many vectors, on the stack."""
        b = self.builder
        with b.goto_entry_block():
            room = b.alloca(ir.ArrayType(self.vector, vectors))
        return b.ptrtoint(room, I64)

    def splat(self, value: ir.Value) -> ir.Value:
        b, vector = self.builder, ir.VectorType(value.type, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = b.insert_element(undefined, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return b.shuffle_vector(first, undefined, zeros)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """The sum a * b + c, in one step where the machine has one."""
        kinds = [self.vector] * 3
        return self._call(f"llvm.fmuladd.{self.suffix}", self.vector, kinds, [a, b, c])

    def load(self, address: ir.Value, vector: int) -> ir.Value:
        pointer = self._vector_pointer(address, vector)
        if self.mask is not None:
            mask, align = self.vector_of_bits(), ir.Constant(I32, self.bytes)
            kinds = [pointer.type, I32, mask, self.vector]
            zero = ir.Constant(self.vector, [0.0] * self.lanes)
            operands = [pointer, align, self.mask, zero]
            return self._call(f"llvm.masked.load.{self.suffix}.p0", self.vector, kinds, operands)
        value = self.builder.load(pointer)
        value.align = self.bytes
        return value

    def store(self, value: ir.Value, address: ir.Value, vector: int) -> None:
        pointer = self._vector_pointer(address, vector)
        if self.mask is not None:
            mask, align = self.vector_of_bits(), ir.Constant(I32, self.bytes)
            kinds = [self.vector, pointer.type, I32, mask]
            operands = [value, pointer, align, self.mask]
            self._call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), kinds, operands)
            return
        self.builder.store(value, pointer).align = self.bytes

    def prefetch(self, address: ir.Value) -> None:
        """Ask for a cache line that will be read soon. Any address will do."""
        pointer = self.builder.inttoptr(address, I8.as_pointer())
        reading, keep, data = ir.Constant(I32, 0), ir.Constant(I32, 3), ir.Constant(I32, 1)
        kinds = [pointer.type, I32, I32, I32]
        self._call("llvm.prefetch.p0", ir.VoidType(), kinds, [pointer, reading, keep, data])

    def vector_of_bits(self) -> ir.Type:
        return ir.VectorType(ir.IntType(1), self.lanes)

    def element(self, base: ir.Value, index: ir.Value) -> ir.Value:
        """The address of element `index` of the floats at `base`."""
        b = self.builder
        return b.add(base, b.mul(index, ir.Constant(I64, self.bytes)))

    def row_of(self, base: ir.Value, rows: ir.Value, position: ir.Value, ld: ir.Value) -> ir.Value:
        """The address of row rows[position] of the array at `base`, whose rows lie `ld` apart."""
        return self.element(base, self.builder.mul(self.index_at(rows, position), ld))

    def scalar_at(self, address: ir.Value) -> ir.Value:
        """The float at `address`, in every lane."""
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

    def _call(self, name: str, result: ir.Type, kinds: list, operands: list[ir.Value]) -> ir.Value:
        """A call of one of LLVM's intrinsic functions."""
        module = self.builder.module
        function = module.globals.get(name)
        function = function or ir.Function(module, ir.FunctionType(result, kinds), name)
        return self.builder.call(function, operands)


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
        """End of the body, after which the carried values are `updated`."""
        b = self.builder
        following = b.add(self.index, ir.Constant(I64, 1))
        self.index.add_incoming(following, b.block)
        for phi, value in zip(self.carried, updated, strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, self.count), self.body, self.after)
        b.position_at_end(self.after)
