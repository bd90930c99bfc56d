"""Micro-kernels without Numba: the assembly of any machine, and functions to call on this one."""

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir

from gossamer.ops.conv import depthwise, microkernel
from gossamer.ops.conv.emitter import I64, Emitter, Machine
from gossamer.ops.conv.microkernel import Block

ARGUMENTS = {
    microkernel.emit_rows: 11,
    microkernel.emit_panel: 12,
    microkernel.emit_outer: 14,
    microkernel.emit_depthwise: 10,
    microkernel.emit_depthwise_outer: 10,
    microkernel.emit_prefetch: 4,
}


Kernel = tuple[Callable, Block]


@dataclass(frozen=True)
class Target:
    """A kind of machine.

    Args:
        architecture: first part of LLVM's triple.
        cpu: one whose assembly is looked at.
        features: what of its features makes a difference here.
        register: a whole vector register, as its assembly writes it; {} is the float type.
        machine: what block sizes are expected to follow from.
    """

    architecture: str
    cpu: str
    features: tuple[str, ...]
    register: str
    machine: Machine

    @property
    def fuses(self) -> bool:
        """Whether it multiplies and adds in one step."""
        return "fma" in self.features or self.architecture == "aarch64"

    @property
    def missing(self) -> list[str]:
        """What this machine would need to run its code."""
        here = llvm.get_process_triple().replace("arm64", "aarch64")
        if not here.startswith(self.architecture):
            return [self.architecture]
        there = llvm.get_host_cpu_features()
        # Not every system says what an ARM has, but all of them have this one.
        return [f for f in self.features if not there.get(f) and f != "neon"]


_AVX = ("sse2", "avx")
_AVX2 = (*_AVX, "avx2", "fma")
TARGETS = {
    "sse": Target("x86_64", "x86-64", ("sse2",), "%xmm", Machine(16, 16)),
    "avx": Target("x86_64", "sandybridge", _AVX, "%ymm", Machine(32, 16)),
    "avx2": Target("x86_64", "haswell", _AVX2, "%ymm", Machine(32, 16)),
    "avx512": Target("x86_64", "skylake-avx512", (*_AVX2, "avx512f"), "%zmm", Machine(64, 32)),
    "neon": Target("aarch64", "neoverse-n1", ("neon",), r"v\d+\.{}", Machine(16, 32)),
}


def kernels(machine: Machine) -> list[Kernel]:
    """Every micro-kernel that convolution on this machine is made of."""
    found: list[Kernel] = [(microkernel.emit_panel, Block.panel(machine))]
    for block in Block.sizes(machine):
        for b in (block, block.rest):
            found += [(microkernel.emit_rows, b), (microkernel.emit_prefetch, b)]
    for block in Block.outer_sizes(machine):
        found += [(microkernel.emit_outer, b) for b in (block, block.rest)]
    for block in (depthwise.WIDE, depthwise.NARROW):
        found += [(microkernel.emit_depthwise, block), (microkernel.emit_depthwise_outer, block)]
    return list(dict.fromkeys(found))


def name_of(body: Callable, block: Block) -> str:
    kind = f"{'masked_' * block.masked}{'partial' * block.partial}"
    return f"{body.__name__}_{block.rows}x{block.vectors}_{kind}"


def _optimised(target: Target, bits: int, triple: str, **options):
    """All micro-kernels for floats of so many bits, optimised like what Numba compiles."""
    module = ir.Module("kernels")
    module.triple = triple
    for body, block in kernels(target.machine):
        kind = ir.FunctionType(ir.VoidType(), [I64] * ARGUMENTS[body])
        function = ir.Function(module, kind, name_of(body, block))
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        body(Emitter(builder, bits, target.machine), block, list(function.args))
        builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=3, **options)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(parsed, passes)
    return parsed, machine


def assembly(target: Target, bits: int) -> dict[Kernel, list[str]]:
    """The instructions and labels of every micro-kernel."""
    triple = f"{target.architecture}-unknown-linux-gnu"
    parsed, machine = _optimised(target, bits, triple, cpu=target.cpu)
    comment = {"x86_64": "#", "aarch64": "//"}[target.architecture]
    by_name: dict[str, list[str]] = {}
    name = ""
    for line in machine.emit_assembly(parsed).splitlines():
        line = line.split(comment)[0].strip()
        if match := re.fullmatch(r"(emit_\w+):", line):
            name = match[1]
        if re.match(r"\.L\w+:|[a-z]", line):
            by_name.setdefault(name, []).append(line)
    return {kernel: by_name[name_of(*kernel)] for kernel in kernels(target.machine)}


def branch_target(line: str) -> str:
    """Where an instruction may go on to; "" if only to the next one."""
    operation, *operands = line.replace(",", " ").split()
    if re.fullmatch(r"j\w+|call\w*|b|b\.\w+|bl|blr|br|cbn?z|tbn?z", operation):
        return operands[-1]
    return ""


def innermost_loops(lines: list[str]) -> list[list[str]]:
    """What lies between a label and a branch back to it, with no such loop inside."""
    place = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    ends = ((place.get(branch_target(line), len(lines)), i) for i, line in enumerate(lines))
    spans = {(first, last) for first, last in ends if first <= last}
    return [
        lines[a : b + 1]
        for a, b in sorted(spans)
        if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in spans)
    ]


@contextmanager
def functions(target: Target, bits: int) -> Iterator[dict[Kernel, Callable[..., None]]]:
    """Every micro-kernel as machine code of this process, to be called with ints."""
    # With the named features and no more, so that other features of `cpu` need not be there.
    generic = {"x86_64": "x86-64", "aarch64": "generic"}[target.architecture]
    features = ",".join(f"+{name}" for name in target.features)
    triple = llvm.get_process_triple()
    parsed, machine = _optimised(target, bits, triple, cpu=generic, features=features, jit=True)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    found = {}
    for body, block in kernels(target.machine):
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * ARGUMENTS[body])
        found[body, block] = kind(engine.get_function_address(name_of(body, block)))
    yield found
    engine.close()
