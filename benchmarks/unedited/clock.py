"""Times of layers and networks, by whatever library the program that asks was written for."""

import json
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import nn

CHANNELS, WIDTHS, ROUNDS = (16, 32, 64), (16, 32, 64, 64), 5


def voxels() -> torch.Tensor:
    """[N, 4] int32: the voxels in the file that the command line names, batch first."""
    return torch.from_numpy(np.load(sys.argv[1])).int()


def clocked(run: Callable[[], object]) -> float | None:
    """Milliseconds, the median of some calls after one that is not counted; None if it can't."""
    try:
        run()
    except NotImplementedError:  # TorchSparse 1.4 has no gradients on a CPU
        return None
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def report(
    tensor: Callable[[torch.Tensor], object],
    features: str,
    layer: Callable[[int, int], nn.Module],
    network: Callable[[tuple[int, ...]], nn.Module],
) -> None:
    """Print milliseconds by case, as JSON.

    Args:
        tensor: makes a library's tensor of features; new coordinates each time it is called.
        features: the attribute that gives features back.
        layer: from channels and a stride.
        network: from the channels of its levels; takes 4 channels.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    count, times = len(voxels()), {}
    for channels in CHANNELS:
        x = tensor(torch.randn(count, channels))
        for kind, stride in (("submanifold", 1), ("strided", 2)):
            one = layer(channels, stride)

            def forward(one=one, x=x):
                with torch.no_grad():
                    return getattr(one(x), features)

            def step(one=one, x=x):
                getattr(one(x), features).sum().backward()

            times[f"{kind} {channels} forward"] = clocked(forward)
            times[f"{kind} {channels} forward+backward"] = clocked(step)
    net, values = network(WIDTHS), torch.randn(count, 4)
    times["network step"] = clocked(
        lambda: getattr(net(tensor(values)), features).square().mean().backward()
    )
    net.eval()
    with torch.no_grad():
        times["network forward"] = clocked(lambda: getattr(net(tensor(values)), features))
    print(json.dumps({case: found for case, found in times.items() if found is not None}))
