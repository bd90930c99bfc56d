"""What gossamer does on a GPU: its laws at full size, its times, and those of its peers.

    python benchmarks/gpu.py --json FILE [--scan FILE ...] [--sections laws,layers] [--minutes 9]
    compute-sanitizer --tool memcheck python benchmarks/gpu.py --sanitize

FILE is written after every task that is done, so a run that is stopped leaves what it had. Sections
are machine, laws, rulebooks, layers, networks, questions, peers, choices. Each runs in processes of
its own: laws side by side; what is timed alone, after its kernels were compiled side by side. What
does not fit the minutes is left out, and the file says so. benchmarks/README.md says more.

With TRITON_INTERPRET=1 and --quick everything runs once on some voxels, without a GPU.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from on_gpu import (
    apart,
    conv_laws,
    layers,
    machine,
    network_laws,
    networks,
    op_laws,
    peers,
    questions,
    report,
    rulebooks,
    scenes,
)
from on_gpu.clock import Clock
from on_gpu.tasks import FAILED, LEFT_OUT, Order, Outcome, Setting, Task, run_here

from gossamer.doctor import processor
from gossamer.io.atomic import written_beside


def laws(setting: Setting) -> list[Task]:
    """What must be right; the longest last."""
    return [
        *op_laws.tasks(setting),
        *network_laws.tasks(setting),
        *conv_laws.tasks(setting),
    ]


SECTIONS: dict[str, Callable[[Setting], list[Task]]] = {
    "machine": machine.tasks,
    "laws": laws,
    "rulebooks": rulebooks.tasks,
    "layers": layers.tasks,
    "networks": networks.tasks,
    "questions": questions.tasks,
    "peers": peers.tasks,
    "choices": layers.choices,
}
SHARES = dict(zip(SECTIONS, (2, 22, 5, 26, 16, 4, 15, 10), strict=True))
"""Of the time that is left, among the sections that are left."""
SIDE_BY_SIDE = {"laws"}
NOT_WARMED = {"machine", "laws", "questions", "peers"}  # few kernels, or another library's
WARMING = 0.6  # of a section's time, at most
MOST_PROCESSES = 8
OTHER_PARTS = {"peers"}  # in a process apart even where nothing else is


class Run:
    """One run of the script: what was asked for, and what is known so far.

    Args:
        options: of the command line.
        setting: where.
        folder: for files that only this run needs.
    """

    def __init__(self, options: argparse.Namespace, setting: Setting, folder: Path):
        self.options, self.setting = options, setting
        self.end = time.time() + 60 * options.minutes
        self.results: dict[str, Any] = {"command": sys.argv[1:], "sections": {}}
        self.scenes = folder / "scenes.pt"
        scenes.save(self.scenes, setting.host_scenes)

    def section(self, name: str, later: list[str]) -> None:
        """Do the tasks of a section, which has its share of what is left of the time."""
        now = time.time()
        share = SHARES[name] / sum(SHARES[each] for each in (name, *later))
        until = now + max(0.0, self.end - now) * share
        names = apart.names_of(SECTIONS[name](self.setting))
        if self.options.processes and name not in NOT_WARMED:
            half = now + (until - now) * WARMING
            warm = list(self._apart(name, names, half, warm=True))
            self.results.setdefault("warmed", {})[name] = _count(warm)
        outcomes: list[Outcome] = []
        self.results["sections"][name] = outcomes
        for outcome in self._outcomes(name, names, until):
            outcomes.append(outcome)
            self.write()
        print(f"{name}: {_count(outcomes)} in {time.time() - now:.0f} s", flush=True)

    def _outcomes(self, name: str, names: list[str], until: float) -> Iterator[Outcome]:
        if self.options.processes or name in OTHER_PARTS:
            return self._apart(name, names, until, warm=False)
        tasks = SECTIONS[name](self.setting)
        return run_here(tasks, Clock(self.setting.device), until)

    def _apart(self, name: str, names: list[str], until: float, *, warm: bool) -> Iterator[Outcome]:
        # Another library may try a hundred kernels before it runs one.
        patience = 420.0 if name == "peers" else 150.0
        order = Order(name, names, self.setting.size, str(self.scenes), until, warm, patience)
        many = warm or name in SIDE_BY_SIDE
        return apart.run_apart(order, max(1, self.options.processes) if many else 1)

    def write(self) -> None:
        """What is known so far, to the file."""
        if self.options.json:
            with written_beside(self.options.json) as unfinished:
                unfinished.write_text(json.dumps(self.results, indent=1) + "\n")


def _count(outcomes: list[Outcome]) -> dict[str, int]:
    statuses = [each["status"] for each in outcomes]
    return {status: statuses.count(status) for status in dict.fromkeys(statuses)}


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="the file to write")
    parser.add_argument("--scan", type=Path, nargs="*", default=[], help="scans of yours")
    parser.add_argument("--beside", type=Path, help="a file of an earlier run, for ratios")
    parser.add_argument("--quick", action="store_true", help="some voxels, with an interpreter")
    parser.add_argument("--sanitize", action="store_true", help="small laws only, in one process")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="which, with commas")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything")
    default = min(MOST_PROCESSES, processor().cores)
    parser.add_argument("--processes", type=int, default=default, help="side by side; 0: none")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.sections = options.sections.split(",")
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"--sections has {unknown}; wanted some of {', '.join(SECTIONS)}")
    if options.sanitize:
        options.sections, options.processes = ["laws"], 0
    return options


def size_of(options: argparse.Namespace) -> str:
    """What this machine can do of what was asked for."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if torch.cuda.is_available() and not interpreted:
        return "small" if options.sanitize else "full"
    if not (interpreted and options.quick):
        raise SystemExit(
            "no GPU that torch can use is here; to see whether this script runs at all: "
            "TRITON_INTERPRET=1 python benchmarks/gpu.py --quick --processes 0"
        )
    return "tiny"


def main() -> int:
    options = options_of(sys.argv[1:])
    if options.child:
        apart.be_a_child(SECTIONS)
        return 0
    size = size_of(options)
    with tempfile.TemporaryDirectory() as folder:
        here = Setting(size, scenes.made(tuple(options.scan), size))
        run = Run(options, here, Path(folder))
        for place, name in enumerate(options.sections):
            run.section(name, options.sections[place + 1 :])
    sections = run.results["sections"]
    if options.beside:
        earlier = json.loads(options.beside.read_text())["sections"]
        run.results["sections"] = {**earlier, **sections}
    print("\n".join(report.lines(run.results)))
    bad = [o for found in sections.values() for o in found if o["status"] in (FAILED, "crashed")]
    left = sum(o["status"] == LEFT_OUT for found in sections.values() for o in found)
    print(f"{len(bad)} failed or crashed, {left} left out")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
