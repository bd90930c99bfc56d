"""The worked example: two sites on a 5 x 5 picture, convolved, with every step kept as a value.

Nothing here is written down in advance but the picture and the filters: sites, keys, rulebook and
results are what the layers of gossamer give.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gossamer.checks import one_of
from gossamer.coords import Coords
from gossamer.nn import SparseConv2d, SubMConv2d
from gossamer.rulebook import Rulebook
from gossamer.tensor import SparseTensor

LAYERS = {"regular": SparseConv2d, "submanifold": SubMConv2d}
KINDS = tuple(LAYERS)
SHAPE = (5, 5)
SITES = ((1, 2), (2, 3))
VALUES = (0.1, 0.2)
CHANNELS = 3
KERNEL = (3, 3)
FILTERS = ("dark", "light")

Place = tuple[int, int]
Vector = tuple[float, ...]


@dataclass(frozen=True)
class Site:
    """An active cell: its place (row, column), its key, and the row of the features it owns."""

    place: Place
    key: int
    row: int


@dataclass(frozen=True)
class Move:
    """Where one tap sends one input row: a place, and the output row there, if there is one."""

    tap: int
    input: int
    place: Place
    output: int | None


@dataclass(frozen=True)
class Operation:
    """One atomic operation: a line of the rulebook, and the numbers that it moves.

    Args:
        tap: its number; `counter` numbers the operations of one tap.
        input, output: rows.
        gathered: the input row's channels.
        product: gathered @ weight[tap], a value a filter.
        before, after: the output row's sums.
    """

    tap: int
    counter: int
    input: int
    output: int
    gathered: Vector
    product: Vector
    before: Vector
    after: Vector


@dataclass(frozen=True)
class WorkedExample:
    """One convolution of the picture, from the input to the comparison with a dense one.

    Args:
        kind: "regular" or "submanifold".
        shape, output_shape: rows and columns of the grids.
        kernel: rows and columns of the kernel.
        taps: K positions (i, j) in it, counted from its corner.
        shift: output place = input place - tap position + shift.
        inputs, outputs: the sites, in row order.
        features: a vector of channels for each input row.
        weights: [K][filter], the same for every channel.
        moves: where every tap sends every input row.
        operations: the rulebook, by tap and then by output row.
        result: a value a filter for each output row, as the layer gave them.
        dense: the same grid by torch.nn.functional.conv2d, [row][column][filter].
        difference: the largest between result and dense on the output's sites.
    """

    kind: str
    shape: Place
    output_shape: Place
    kernel: Place
    taps: tuple[Place, ...]
    shift: Place
    inputs: tuple[Site, ...]
    outputs: tuple[Site, ...]
    features: tuple[Vector, ...]
    weights: tuple[Vector, ...]
    moves: tuple[Move, ...]
    operations: tuple[Operation, ...]
    result: tuple[Vector, ...]
    dense: tuple[tuple[Vector, ...], ...]
    difference: float

    def sources(self, output: int) -> tuple[int, ...]:
        """The input rows that feed an output row, ascending."""
        return tuple(sorted({o.input for o in self.operations if o.output == output}))

    @property
    def fed_by_both(self) -> int:
        """How many output sites more than one input site feeds."""
        return sum(len(self.sources(site.row)) > 1 for site in self.outputs)

    @property
    def dense_operations(self) -> int:
        """How many products a dense convolution makes: every tap at every output cell."""
        return prod(self.output_shape) * len(self.taps)

    @property
    def agrees(self) -> bool:
        """Whether result and dense differ by no more than float32 rounding of their sums."""
        terms = len(self.taps) * CHANNELS
        largest = max(abs(value) for values in self.result for value in values)
        return self.difference <= terms * torch.finfo(torch.float32).eps * largest

    @property
    def dense_sites(self) -> int:
        """How many cells of the dense convolution are not zero."""
        return sum(any(cell) for line in self.dense for cell in line)


@torch.no_grad()
def worked_example(kind: str) -> WorkedExample:
    """The example, convolved.

    Args:
        kind: "regular" or "submanifold".

    Raises:
        ValueError: another kind.
    """
    one_of("kind", kind, KINDS)
    layer = LAYERS[kind](CHANNELS, len(FILTERS), KERNEL, stride=1, padding=0, bias=False)
    layer.weight.copy_(_weight())
    x = _picture()
    y = layer(x)
    rulebook = x.sites.rulebook(layer.geometry)
    # A submanifold kernel is centred, which for a dense one is padding by half its size.
    margin = tuple(-offset for offset in layer.geometry.offsets[0])
    dense = conv2d(x.dense(), layer.weight.permute(2, 1, 0).unflatten(2, KERNEL), padding=margin)
    at_sites = dense[0].movedim(0, -1)[tuple(y.coords[:, 1:].long().unbind(1))]
    return WorkedExample(
        kind=kind,
        shape=SHAPE,
        output_shape=_pair(y.spatial_shape or ()),
        kernel=KERNEL,
        taps=tuple(map(_pair, product(*map(range, KERNEL)))),
        shift=_pair(margin),
        inputs=_sites(x.sites),
        outputs=_sites(y.sites),
        features=_vectors(x.features),
        weights=_vectors(layer.weight[:, 0]),
        moves=_moves(layer.geometry.offsets, x.sites, rulebook),
        operations=_operations(x.features, layer.weight, rulebook),
        result=_vectors(y.features),
        dense=tuple(_vectors(line) for line in dense[0].permute(1, 2, 0)),
        difference=(y.features - at_sites).abs().max().item(),
    )


def _picture() -> SparseTensor:
    rows = torch.tensor([(0, *site) for site in SITES])
    features = torch.tensor(VALUES).unsqueeze(1).expand(-1, CHANNELS)
    return SparseTensor(features, rows, spatial_shape=SHAPE, batch_size=1)


def _weight() -> Tensor:
    """[K, C_in, C_out]: the dark filter tells the tap it was met through, the light one counts."""
    dark = torch.arange(1.0, prod(KERNEL) + 1)
    by_filter = torch.stack([dark, torch.ones_like(dark)], dim=1)
    return by_filter.unsqueeze(1).expand(-1, CHANNELS, -1)


def _sites(coords: Coords) -> tuple[Site, ...]:
    places = [_pair(row[1:]) for row in coords.rows.tolist()]
    return tuple(map(Site, places, coords.keys().tolist(), range(len(places))))


def _moves(offsets: Sequence[Sequence[int]], sites: Coords, rulebook: Rulebook) -> tuple[Move, ...]:
    landed = {(tap, row): output for tap, row, output in rulebook.triples().tolist()}
    moves = []
    for tap, offset in enumerate(offsets):
        for row, (_, *place) in enumerate(sites.rows.tolist()):
            target = _pair([a - b for a, b in zip(place, offset, strict=True)])
            moves.append(Move(tap, row, target, landed.get((tap, row))))
    return tuple(moves)


def _operations(features: Tensor, weight: Tensor, rulebook: Rulebook) -> tuple[Operation, ...]:
    seen: Counter[int] = Counter()
    sums = features.new_zeros(rulebook.outputs, weight.shape[2])
    operations = []
    for tap, row, output in rulebook.triples().tolist():
        change = features[row] @ weight[tap]
        before = sums[output].clone()
        sums[output] += change
        values = map(_vector, (features[row], change, before, sums[output]))
        operations.append(Operation(tap, seen[tap], row, output, *values))
        seen[tap] += 1
    return tuple(operations)


def _vector(values: Tensor) -> Vector:
    return tuple(values.tolist())


def _vectors(rows: Tensor) -> tuple[Vector, ...]:
    return tuple(map(_vector, rows))


def _pair(values: Sequence[int]) -> Place:
    first, second = values
    return int(first), int(second)
