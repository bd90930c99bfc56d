"""What is asked of every contender, and the form in which answers are compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gossamer.bench.scenes import Scene, keys
from gossamer.geometry import Geometry

LAYER_CASES = ("forward", "forward+backward")
NETWORK_CASES = ("network forward", "network step")
CASES = ("rulebook", *LAYER_CASES, *NETWORK_CASES)
KINDS = {
    "submanifold": Geometry.of("submanifold", 3, 3),
    "strided": Geometry.of("regular", 3, 3, stride=2, padding=1),
}
NETWORKS = ("minkunet", "second")
NETWORK_CHANNELS = 16  # of a network's first layer
NETWORK_INPUTS = 4  # x, y, z and intensity
CLASSES = 19
SECOND_GRID = (41, 1600, 1408)  # z, y, x
ORDERS = ("sorted", "shuffled")

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """One case of one kind of layer or network, on the voxels of one scene in one order.

    Args:
        case: one of CASES.
        kind: one of KINDS, or of NETWORKS.
        channels: C in and out of a layer, 0 for a rulebook, NETWORK_CHANNELS for a network.
        order: "sorted" or "shuffled", how the rows of the scene come.
        scene: the voxels.
        dtype: of features and weights.
    """

    case: str
    kind: str
    channels: int
    order: str
    scene: Scene
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        width = f" C={self.channels}" if self.case in LAYER_CASES else ""
        return f"{self.case} {self.kind}{width}, {self.order}"

    @property
    def geometry(self) -> Geometry:
        """The kernel of a layer."""
        return KINDS[self.kind]

    def features(self) -> Tensor:
        """[N, C], a row for each of the scene's: the input, the same at every call."""
        width = NETWORK_INPUTS if self.kind in NETWORKS else self.channels
        return self._drawn(0, len(self.scene), width)

    def weight(self) -> Tensor:
        """[27, C, C]: the weight of a layer."""
        bound = (27 * self.channels) ** -0.5
        return self._drawn(1, 27, self.channels, self.channels) * bound

    def gradient(self, rows: int) -> Tensor:
        """[rows, C]: of the output, whose rows are the scene's or else in key order."""
        return self._drawn(2, rows, self.channels)

    def labels(self) -> Tensor:
        """[N] int64: a class for each of the scene's rows."""
        return torch.randint(CLASSES, (len(self.scene),), generator=_seeded(3))

    def _drawn(self, seed: int, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=_seeded(seed)).to(self.dtype)


@dataclass(frozen=True)
class Work:
    """One contender's answer to a problem.

    Args:
        run: the call to time.
        values: from what `run` returned, named tensors that all contenders' must agree on.
    """

    run: Callable[[], Any]
    values: Callable[[Any], Values]


def pair_values(tap: Tensor, source: Tensor, target: Tensor) -> Values:
    """The pairs of a rulebook, whatever rows they were between and in whatever order.

    Args:
        tap: [P] the tap of each pair.
        source: [P] int64, the key of the voxel it reads.
        target: [P] int64, the key of the voxel it writes.
    """
    by_target = target.argsort()
    order = by_target[tap[by_target].argsort(stable=True)]
    return {"pairs": torch.stack([tap[order].long(), source[order], target[order]], dim=1)}


def site_values(coords: Tensor, spatial_shape: Sequence[int], features: Tensor) -> Values:
    """The sites that a layer made, in key order, and their features."""
    number, order = keys(coords, spatial_shape).sort()
    return {"sites": number, "features": features.detach()[order]}


def key_rank(coords: Tensor, spatial_shape: Sequence[int]) -> Tensor:
    """[M] int64: the place in key order of each of `coords` [M, 4]."""
    return keys(coords, spatial_shape).argsort().argsort()


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
