"""What was measured: a row a case and peer, and the machine it was measured on."""

import platform
from dataclasses import asdict, dataclass

import numba
import torch

from gossamer.bench.plan import Plan
from gossamer.bench.scenes import Scene
from gossamer.doctor import processor
from gossamer.version import __version__


@dataclass(frozen=True)
class Row:
    """gossamer beside one peer.

    Args:
        case, kind, channels, order: as in Problem.
        threads: how many gossamer had.
        voxels: N of the input.
        pairs: of the rulebook; of a network, of all its convolutions.
        ours_ms: median.
        peer: its name, version and threads; None where no peer takes the problem.
        peer_ms: median.
        ratio: peer_ms / ours_ms.
        gflops: useful operations a second, 1e9; None for a rulebook.
        sgemm_gflops: those of a float32 matrix product in the same rounds, with as many threads.
        share: gflops / sgemm_gflops.
        ours_min_ms, peer_min_ms: minima.
    """

    case: str
    kind: str
    channels: int
    threads: int
    order: str
    voxels: int
    pairs: int
    ours_ms: float
    peer: str | None
    peer_ms: float | None
    ratio: float | None
    gflops: float | None
    sgemm_gflops: float
    share: float | None
    ours_min_ms: float
    peer_min_ms: float | None


@dataclass(frozen=True)
class Results:
    """Everything a run found.

    Args:
        machine: the processor, the versions, the scan and the plan.
        rows: a row a case and peer.
        notes: a sentence on each peer that was left out.
    """

    machine: dict[str, object]
    rows: list[Row]
    notes: list[str]

    def as_json(self) -> dict[str, object]:
        """The results as the JSON file has them."""
        machine = {**self.machine, "left_out": self.notes}
        return {"machine": machine, "rows": [asdict(row) for row in self.rows]}


def machine(plan: Plan, scene: Scene) -> dict[str, object]:
    """What the figures of a run hold for."""
    cpu = processor()
    return {
        "cpu": cpu.model,
        "llvm_name": cpu.llvm_name,
        "vector_bits": cpu.vector_bits,
        "cores": cpu.cores,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "gossamer": __version__,
        "scan": "simulated" if plan.scan is None else plan.scan.name,
        "voxel_size_m": list(plan.voxel_size),
        "grid": list(scene.spatial_shape),
        "rounds": plan.rounds,
    }
