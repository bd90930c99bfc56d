"""The same bits for any number of threads, from run to run, and from inside workers."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from gossamer import SparseTensor
from gossamer import nn as gnn
from gossamer.ops.threads import for_each
from tests.same_bits import digest
from tests.scenes import scene

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def threads():
    """A setter of the number of threads that is undone afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_one_thread_and_several_give_the_same_bits(threads):
    one = digest(1)
    assert {digest(count) for count in (1, 2, 3, 7)} == {one}


def test_another_process_with_other_garbage_in_its_memory_gives_the_same_bits(threads):
    # glibc fills what it hands out with this byte's complement; elsewhere the variable is ignored.
    for count, byte in ((1, "0"), (2, "90")):
        environment = {**os.environ, "MALLOC_PERTURB_": byte}
        command = [sys.executable, "-m", "tests.same_bits", str(count)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == digest(1)


def test_python_threads_may_call_at_once(threads):
    threads(2)

    def work(seed: int) -> torch.Tensor:
        torch.manual_seed(seed % 4)
        layer = LAYERS[seed % 4]
        x = scene(2, 6000, 16, side=110, seed=seed % 4)
        y = layer(x).features
        y.sum().backward()
        return y.detach()

    layers_alone = [work(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for seed, y in enumerate(pool.map(work, range(24))):
            assert torch.equal(y, layers_alone[seed % 4])


LAYERS = [gnn.SubMConv2d(16, 24, 3), gnn.SparseConv2d(16, 40, 3, 2, 1)] * 2


class Convolved(Dataset):
    """Items that run forward and backward before they are handed over."""

    def __init__(self):
        torch.manual_seed(0)
        self.layer = torch.nn.Sequential(gnn.SubMConv2d(8, 16, 3), gnn.SparseConv2d(16, 24, 3, 2))

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[SparseTensor, torch.Tensor]:
        x = scene(2, 5000, 8, side=100, seed=index)
        y = self.layer(x)
        y.features.sum().backward()
        weight = self.layer[0].weight
        assert weight.grad is not None
        gradient, weight.grad = weight.grad, None
        return y.detach(), gradient


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_of_a_data_loader_run_convolutions(start, threads):
    if start not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {start}")
    threads(2)
    data = Convolved()
    expected = [data[i] for i in range(len(data))]  # so a forked child inherits a used pool
    loader = DataLoader(
        data, batch_size=None, num_workers=2, multiprocessing_context=start, timeout=120
    )
    for (y, gradient), (wanted, wanted_gradient) in zip(loader, expected, strict=True):
        assert torch.equal(y.coords, wanted.coords)
        assert torch.equal(y.features, wanted.features)
        assert torch.equal(gradient, wanted_gradient)
        back = gnn.SparseInverseConv2d(24, 2, 3)(y)  # what came through knows where it came from
        assert len(back) == 5000


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_piece_of_work_is_done_once(threads, count):
    threads(count)
    for pieces in (0, 1, 2, 100):
        done: list[int] = []
        for_each(pieces, done.append)
        assert sorted(done) == list(range(pieces))


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_piece_of_work_reaches_the_caller(threads, count):
    threads(count)

    def fail(piece: int) -> None:
        raise ArithmeticError(f"piece {piece}")

    for _ in range(3):
        with pytest.raises(ArithmeticError, match="piece"):
            for_each(8, fail)
