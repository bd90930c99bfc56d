"""Every problem of a plan, by gossamer and every peer: do they agree, and how long does each take?

All contenders of a problem take turns inside one process, on the same voxels in the same row order.
"""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import torch

from gossamer.bench import ours
from gossamer.bench.agreement import TOLERANCE, check_agreement
from gossamer.bench.cases import NETWORKS, Problem, Values, Work
from gossamer.bench.peers import installed
from gossamer.bench.plan import Plan
from gossamer.bench.results import Results, Row, machine
from gossamer.bench.scenes import scene_of
from gossamer.bench.timing import (
    SGEMM,
    Contender,
    Times,
    gflops,
    in_turns,
    keeping_threads,
    openmp_runtimes,
    set_threads,
    sgemm,
)

Report = Callable[[str, int, int], None]
Entry = tuple[str, int]  # a contender's name and its threads


def measure(plan: Plan, report: Report = lambda *_: None) -> Results:
    """The results of a plan.

    Args:
        plan: what to measure.
        report: called with (what comes next, how many are done, how many there are).

    Raises:
        ValueError: the scan cannot be read, or has no point.
        DisagreementError: a peer's result is not gossamer's.
    """
    peers, notes = installed()
    scene = scene_of(plan.scan, plan.voxel_size)
    problems = list(plan.problems(scene))
    left_out: dict[str, list[str]] = {}
    rows: list[Row] = []
    with keeping_threads():
        for done, problem in enumerate(problems):
            report(str(problem), done, len(problems))
            able = {}
            for name, peer in peers.items():
                if problem.case in peer.CASES and (reason := peer.refuses(problem)):
                    left_out.setdefault(f"{peer.NAME}: {reason}", []).append(str(problem))
                elif problem.case in peer.CASES:
                    able[name] = peer
            rows += compare(problem, plan, able)
    report("done", len(problems), len(problems))
    notes += [f"{why}; left out of {'; '.join(which)}" for why, which in left_out.items()]
    return Results(machine(plan, scene), rows, notes)


def compare(problem: Problem, plan: Plan, peers: dict[str, ModuleType]) -> list[Row]:
    """The rows of one problem, measured after all contenders were found to agree.

    Raises:
        DisagreementError: they do not.
    """
    contenders = {("sgemm", threads): Contender(threads, sgemm()) for threads in plan.threads}
    truth: Values = {}
    for threads in plan.threads:
        work, values = _solved(ours, problem, threads)
        truth = truth or values
        # With any number of threads a layer gives the same bits; torch's norms do not.
        tolerance = TOLERANCE if problem.kind in NETWORKS else 0.0
        check_agreement(f"{problem}, {threads} threads", truth, values, tolerance)
        contenders["gossamer", threads] = Contender(threads, work.run)
    for name, peer in peers.items():
        for threads in _threads(peer, plan):
            work, values = _solved(peer, problem, threads)
            if _is_right(peer, threads):
                check_agreement(f"{problem}, {peer.NAME}", truth, values, TOLERANCE)
            contenders[name, threads] = Contender(threads, work.run)
    times = dict(zip(contenders, in_turns(list(contenders.values()), plan.rounds), strict=True))
    return _rows(problem, plan, peers, times)


def _solved(who: ModuleType, problem: Problem, threads: int) -> tuple[Work, Values]:
    """What to time, and the values to compare."""
    set_threads(threads, openmp_runtimes())
    work: Work = who.work(problem)
    if problem.case != "network step":
        return work, work.values(work.run())
    # In float32 rounding alone moves some gradients by percents: in batch norms they nearly cancel
    # out, and a ReLU may decide otherwise on a number near zero.
    exact: Work = who.work(replace(problem, dtype=torch.float64))
    return work, exact.values(exact.run())


def _threads(peer: ModuleType, plan: Plan) -> list[int]:
    """The thread counts to measure a peer with: those of the plan, and the one it is right with."""
    return sorted({*plan.threads, peer.SAFE_THREADS or plan.threads[0]})


def _is_right(peer: ModuleType, threads: int) -> bool:
    return peer.SAFE_THREADS is None or threads <= peer.SAFE_THREADS


def _rows(
    problem: Problem, plan: Plan, peers: dict[str, ModuleType], times: dict[Entry, Times]
) -> list[Row]:
    """Each thread count of gossamer beside each peer with as many, or as few as it needs."""
    pairs, flops = ours.cost(problem)
    rows = []
    for threads in plan.threads:
        beside = [
            (_label(peer, count), times[name, count])
            for name, peer in peers.items()
            for count in _threads(peer, plan)
            if count in (threads, peer.SAFE_THREADS)
        ]
        own, limit = times["gossamer", threads], times["sgemm", threads]
        rate = gflops(flops, own.median) if flops else None
        most = gflops(2.0 * SGEMM**3, limit.median)
        for label, theirs in beside or [(None, None)]:
            row = Row(
                case=problem.case,
                kind=problem.kind,
                channels=problem.channels,
                threads=threads,
                order=problem.order,
                voxels=len(problem.scene),
                pairs=pairs,
                ours_ms=own.median,
                peer=label,
                peer_ms=theirs and theirs.median,
                ratio=theirs and theirs.median / own.median,
                gflops=rate,
                sgemm_gflops=most,
                share=rate and rate / most,
                ours_min_ms=own.minimum,
                peer_min_ms=theirs and theirs.minimum,
            )
            rows.append(row)
    return rows


def _label(peer: ModuleType, threads: int) -> str:
    """The name and threads of a peer, and a warning where its results are not to be trusted."""
    wrong = "" if _is_right(peer, threads) else " (wrong results)"
    return f"{peer.NAME}, {threads} thread{'s' * (threads > 1)}{wrong}"
