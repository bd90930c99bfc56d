"""Points for networks that take points and voxels together, and what any such network promises."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.conformance.by_dictionary import by_dictionary
from tests.conformance.scenes import dice

EXTENT = 32


@dataclass(frozen=True)
class Cloud:
    """Points of two scans.

    Args:
        features: [P, 4].
        places: [P, 3], in voxels, quarters of one, from 0 on.
        batch: [P] int64.
    """

    features: Tensor
    places: Tensor
    batch: Tensor

    def of(self, rows: Tensor) -> "Cloud":
        return Cloud(self.features[rows], self.places[rows], self.batch[rows])


def cloud(points: int = 300, whole: bool = False) -> Cloud:
    """Points on a bumpy floor, whose voxels reach both ends of each axis in both scans.

    Args:
        points: P.
        whole: whether places are whole numbers, none twice in a scan.
    """
    places = torch.randint(0, 4 * EXTENT, (points, 3), generator=dice()) / 4
    places[:, 2] = (places[:, 0] / 3 + places[:, 1] / 5 + places[:, 2] / 32) % EXTENT
    places[:4] = torch.tensor([[0.0], [0.0], [EXTENT - 0.25], [EXTENT - 0.25]])
    batch = torch.cat(
        [torch.tensor([0, 1, 0, 1]), torch.randint(0, 2, (points - 4,), generator=dice())]
    )
    if whole:
        rows = torch.unique(torch.cat([batch[:, None], places.floor().long()], 1), dim=0)
        rows = rows[torch.randperm(len(rows), generator=dice())]
        batch, places = rows[:, 0], rows[:, 1:].float()
    return Cloud(torch.randn(len(batch), 4, generator=dice(1)), places, batch)


Run = Callable[[nn.Module, Cloud], Tensor]


def check_numbers(net: nn.Module, run: Run, scene: Cloud) -> None:
    """The outputs are those with convolutions by dictionary."""
    net.eval()
    with torch.no_grad():
        y = run(net, scene)
        with by_dictionary() as computed:
            expected = run(net, scene)
    assert {(3, 1, False), (2, 2, False), (2, 2, True), (1, 1, False)} <= set(computed)
    assert y.isfinite().all() and expected.abs().max() > 0
    # Rounding of float32, stretched by one norm after another.
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def check_gradients(net: nn.Module, run: Run, scene: Cloud, idle: tuple[str, ...] = ()) -> None:
    """Every parameter but those named `idle` gets a gradient, and it is finite."""
    net.train()
    run(net, scene).square().mean().backward()
    for name, parameter in net.named_parameters():
        if not name.startswith(idle or ("?",)):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    assert sum(bool(grad.any()) for grad in grads) > len(grads) // 2


def check_order(net: nn.Module, run: Run, scene: Cloud) -> None:
    """In another order, points come out in that order and else the same."""
    net.eval()
    order = torch.randperm(len(scene.batch), generator=dice(5))
    with torch.no_grad():
        y, other = run(net, scene), run(net, scene.of(order))
    torch.testing.assert_close(other, y[order], rtol=0, atol=1e-5 * y.abs().max().item())
