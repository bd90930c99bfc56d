"""Tasks in processes of their own, so that one that crashes or hangs takes nothing along.

A process reads an order from its standard input and writes a line of JSON before and after each
task. Where it dies, a new one does what was left.
"""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from on_gpu.clock import Clock
from on_gpu.scenes import load
from on_gpu.tasks import FAILED, LEFT_OUT, Order, Outcome, Setting, Task, is_dead, run_here

CRASHED, MARK = "crashed", "@@"
MOST_CRASHES = 4  # of one process; then what is left of its tasks is left out
GRACE = 20.0  # seconds behind the deadline


def run_apart(order: Order, processes: int) -> Iterator[Outcome]:
    """What became of each task of an order, as it becomes known.

    Args:
        order: what to do.
        processes: among which the tasks are dealt out.
    """
    shares = [order.names[i::processes] for i in range(processes)]
    outcomes: queue.Queue[Outcome | None] = queue.Queue()
    threads = [
        threading.Thread(target=_follow, args=(replace(order, names=share), outcomes), daemon=True)
        for share in shares
        if share
    ]
    for thread in threads:
        thread.start()
    running = len(threads)
    while running:
        outcome = outcomes.get()
        if outcome is None:
            running -= 1
        else:
            yield outcome


def _follow(order: Order, outcomes: queue.Queue) -> None:
    """Have an order done, with as many processes one after the other as it takes."""
    names, crashes = list(order.names), 0
    while names and crashes < MOST_CRASHES:
        child = Child(replace(order, names=names))
        for outcome in child.outcomes():
            outcomes.put(outcome)
            names.remove(outcome["name"])
        if names and time.time() < order.until:
            crashes += 1
            broken = child.begun or names[0]
            names.remove(broken)
            outcomes.put({"name": broken, "status": CRASHED, "message": child.last_words()})
        elif names:
            break
    why = "no time was left" if crashes < MOST_CRASHES else "too many crashes before it"
    for name in names:
        outcomes.put({"name": name, "status": LEFT_OUT, "message": why})
    outcomes.put(None)


class Child:
    """A process that does an order."""

    def __init__(self, order: Order):
        self.order, self.begun = order, ""
        self._said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)))
        self._process.stdin.close()
        threading.Thread(target=self._read, daemon=True).start()

    def outcomes(self) -> Iterator[Outcome]:
        """Of its tasks, until it ends or takes too long."""
        while True:
            left = self.order.until + GRACE - time.time()
            try:
                line = self._lines.get(timeout=max(0.1, min(self.order.patience, left)))
            except queue.Empty:
                self._said.append("it took too long and was stopped")
                self._process.kill()
                break
            if line is None:
                break
            message = json.loads(line)
            if "begun" in message:
                self.begun = message["begun"]
            else:
                self.begun = ""
                yield message
        self._process.wait()

    def last_words(self) -> str:
        """How it ended."""
        return "\n".join([f"exit code {self._process.returncode}", *self._said[-15:]])[:2000]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._lines.put(line[len(MARK) :])
            else:
                self._said.append(line.rstrip()[:300])
        self._lines.put(None)


def be_a_child(sections: dict) -> None:
    """Do the order that comes in; leave at once where the device is dead."""
    order = Order(**json.load(sys.stdin))
    setting = Setting(order.size, load(order.path))
    clock = Clock(setting.device, order.warm)
    by_name = {task.name: task for task in sections[order.section](setting)}
    for name in order.names:
        for outcome in run_here([_announced(by_name[name])], clock, order.until):
            _say(outcome)
            if outcome["status"] == FAILED and is_dead(setting.device):
                os._exit(3)


def _announced(task: Task) -> Task:
    def run(clock: Clock):
        _say({"begun": task.name})
        return task.run(clock)

    return Task(task.name, run)


def _say(message: dict) -> None:
    sys.stdout.write(f"\n{MARK}{json.dumps(message)}\n")
    sys.stdout.flush()


def names_of(tasks: Sequence[Task]) -> list[str]:
    return [task.name for task in tasks]
