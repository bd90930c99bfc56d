"""What a rulebook takes: made of sorted sites each time, its arrangement and lists included."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from gossamer.bench.cases import KINDS
from gossamer.coords import Coords, Steps
from on_gpu.clock import Clock, profiled, synchronisations
from on_gpu.tasks import Setting, Task

FLOWS = ("sorted", "planes")


def tasks(setting: Setting) -> list[Task]:
    """Each kind on each scene, for inference in each order and for training."""
    return [
        Task(f"{scene} {kind} {use}", partial(_measured, setting, scene, kind, use))
        for scene in setting.host_scenes
        for kind in (["strided"] if setting.tiny else KINDS)
        for use in (*FLOWS, "training")
    ]


def _measured(setting: Setting, scene: str, kind: str, use: str, clock: Clock) -> dict:
    with setting.on_kernels():
        where, geometry = setting.scenes[scene], KINDS[kind]
        sites, _ = Coords.of(where.coords, where.spatial_shape, 1)

        def run() -> Coords:
            fresh = replace(sites, steps=Steps())
            rulebook = fresh.rulebook(geometry)
            rulebook.lists("planes" if use == "training" else use, listed=use == "training")
            if use == "training":
                rulebook.T.lists("planes", listed=True)
            return fresh

        rulebook = run().rulebook(geometry)
        found = {"voxels": len(sites), "outputs": rulebook.outputs}
        found |= {"pairs": rulebook.pair_count(), "bytes_a_voxel": rulebook.nbytes / len(sites)}
        # A graph can't hold a wait for the number of coarser sites.
        in_graph = kind == "submanifold"
        return {**found, **_figures(run, clock, in_graph)}


def _figures(run: Callable[[], object], clock: Clock, in_graph: bool) -> dict:
    """Without the host where it need not wait; with it; and by parts."""
    figures = clock.device_time(run)
    if not figures:
        return {}
    found = {**figures, "a_call": clock.a_call(run)}
    if in_graph:
        found["replayed"] = clock.replayed(run)
    device = clock.device
    return {**found, "synchronisations": synchronisations(run, device), **profiled(run, device)}
