"""Turns and threads: who runs when, and with how many threads; how long it takes is not tested."""

import time

import pytest
import torch

from gossamer.bench import timing
from gossamer.bench.timing import Contender, Times, gflops, in_turns, keeping_threads

CORES = torch.get_num_threads()


def test_everyone_runs_once_a_round_and_the_first_round_does_not_count(monkeypatch):
    monkeypatch.setattr(timing, "SHORT", 0.0)
    told = []
    contenders = [Contender(1, lambda name=name: told.append(name)) for name in "ab"]
    with keeping_threads():
        times = in_turns(contenders, rounds=7)
    assert told == list("ab") * 8
    assert [len(each.rounds) for each in times] == [7, 7]


def test_the_second_run_of_a_short_call_counts():
    runs = []

    def slow_at_first():
        runs.append(time.sleep(0.01 if len(runs) % 2 == 0 else 0.03))

    with keeping_threads():
        (times,) = in_turns([Contender(1, slow_at_first)], rounds=2)
    assert len(runs) == 6
    assert times.minimum >= 30


def test_a_call_finds_the_threads_it_is_given_in_every_runtime():
    found = []

    def look():
        counts = {runtime.omp_get_max_threads() for runtime in timing.openmp_runtimes()}
        found.append({torch.get_num_threads(), *counts})

    with keeping_threads():
        in_turns([Contender(1, look), Contender(2, look)], rounds=1)
    assert found == [{1}, {1}, {2}, {2}] * 2
    assert torch.get_num_threads() == CORES


@pytest.mark.skipif(torch.backends.openmp.is_available() is False, reason="torch without OpenMP")
def test_the_runtime_of_torch_is_among_those_found():
    if not timing.Path("/proc/self/maps").exists():
        pytest.skip("no list of loaded libraries here")
    assert timing.openmp_runtimes()


def test_median_minimum_and_rate_are_what_they_say():
    times = Times((4.0, 1.0, 2.0))
    assert (times.median, times.minimum) == (2.0, 1.0)
    assert gflops(2e9, 1000.0) == 2.0
