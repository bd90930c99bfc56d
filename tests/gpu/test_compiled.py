"""Every kernel, in every line of the table, compiled for GPUs that need not be there.

What can be told without one: nothing spills, shared memory suffices, products are made by matrix
instructions, and the next factors are copied meanwhile. docs/gpu-resources.md shows the figures;
`python -m tests.gpu.resources --write` writes it.
"""

import pytest
import torch

pytest.importorskip("triton")

from gossamer.ops.launch import interpreted
from gossamer.ops.plans.chips import chip
from tests.gpu import resources
from tests.gpu.cases import CASES, launches
from tests.gpu.compiled import MATRIX, TARGETS, Usage, usage
from tests.gpu.kernels import multiplying, started
from tests.gpu.launches import Launch

pytestmark = pytest.mark.skipif(interpreted(), reason="the interpreter compiles nothing")
# An instruction for wide tiles, which a narrow gradient of a weight has no use for.
WIDE = {"sm_90": "wgmma.mma_async", "sm_100": "tcgen05.mma"}


def multiplies(launch: Launch) -> bool:
    return launch.name in multiplying()


def exact_float(launch: Launch) -> bool:
    """Whether a launch asks for products of float32, which only AMD has matrix instructions for."""
    precision = launch.constants.get("PRECISION")
    return torch.float32 == launch.arguments[0] and precision == "ieee"


def faults(launch: Launch, arch: str, found: Usage) -> list[str]:
    """What is wrong with the machine code of a launch."""
    wrong = []
    if found.spilled:
        wrong.append(f"{found.spilled} spilled")
    if found.shared > chip(arch).shared:
        wrong.append(f"{found.shared} bytes of shared memory of {chip(arch).shared}")
    if multiplies(launch):
        nvidia = arch.startswith("sm_")
        if not found.matrix and not (nvidia and exact_float(launch)):
            wrong.append(f"none of {MATRIX[arch]}")
        if "multiply" in launch.name and arch in WIDE and not exact_float(launch):
            if WIDE[arch] not in found.matrix:
                wrong.append(f"no {WIDE[arch]}")
        if nvidia and not found.copies_in_loop:
            wrong.append("no asynchronous copy in a loop that multiplies")
    return wrong


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("arch", TARGETS)
def test_what_a_backend_starts_fits_the_gpu(arch, case):
    wrong = []
    for launch in launches(case, arch):
        found = faults(launch, arch, usage(launch, arch))
        wrong += [f"{resources.described(launch)}: {', '.join(found)}"] if found else []
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("arch", TARGETS)
def test_every_kernel_is_among_them(arch):
    names = {launch.name for case in CASES for launch in launches(case, arch)}
    assert names == started()
    assert multiplying() <= names


def test_the_document_lists_what_is_compiled():
    """The names of kernels and their configurations; figures vary with the version of Triton."""
    listed = resources.listed(resources.FILE.read_text())
    assert listed == {arch: resources.configurations(arch) for arch in TARGETS}, (
        "run: python -m tests.gpu.resources --write"
    )
