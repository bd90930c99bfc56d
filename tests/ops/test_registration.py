"""Every op has a schema that tells the truth, a shape rule, and a gradient that compiles."""

import pytest
import torch

from gossamer.coords import Coords
from gossamer.geometry import Geometry
from gossamer.rulebook import Pairs
from tests.scenes import scene

GEOMETRIES = {
    "submanifold": Geometry.of("submanifold", 2, 3),
    "strided": Geometry.of("regular", 2, 3, stride=2, padding=1),
    "transposed": Geometry.of("transposed", 2, 2, stride=2),
}
NAMES = sorted(n for n in torch._C._dispatch_get_all_op_names() if n.startswith("gossamer::"))


def conv_arguments(sites: Coords, geometry: Geometry, requires_grad: bool) -> dict[str, tuple]:
    def features(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=requires_grad)

    rulebook = sites.rulebook(geometry)
    lists = rulebook.lists(listed=True), rulebook.T.lists(listed=True)
    rows, taps = rulebook.outputs, rulebook.taps
    x, epilogue = features(rulebook.inputs, 4), [features(6), features(6), features(rows, 6)]
    return {
        "conv_fused": (
            x.detach(),
            torch.randn(taps, 2, 6, dtype=torch.float64),
            lists[0],
            rows,
            2,
            *(t.detach() for t in epilogue),
            "leaky_relu",
            0.1,
        ),
        "conv": (x, features(taps, 2, 6), *lists, rows, 2),
        "conv_weight_grad": (x, features(rows, 6), *lists, 2),
        "pool_sum": (x, *lists, rows),
        "argmax": (x.detach(), lists[0], rows),
    }


def key_arguments(sites: Coords, geometry: Geometry) -> dict[str, tuple]:
    fine, out = sites.rows, sites.output(geometry)
    lower, upper = [-9, -9], [20, 20]
    relation = [*geometry.stride], [v for offset in geometry.offsets for v in offset]
    keys = torch.ops.gossamer.pack(fine, lower, upper)
    shuffled = torch.cat([keys, keys])[torch.randperm(2 * len(keys))]
    rulebook = sites.rulebook(geometry)
    pairs = Pairs.of(rulebook.triples(), rulebook.taps, rulebook.outputs)
    table = torch.stack([torch.randperm(25)[: len(out)].int() for _ in range(9)])
    if geometry.is_upward:
        fine, out = out.rows, sites
    return {
        "pack": (fine, lower, upper),
        "survey": (fine,),
        "unpack": (keys, lower, upper),
        "argsort": (shuffled,),
        "unique": (shuffled,),
        "find": (keys, torch.stack([shuffled, shuffled + 1])),
        "coarsen": (fine, lower, upper, *relation, 2),
        "dilate": (fine, lower, upper, *relation, 2),
        "coarsen_within": (fine, None, lower, upper, *relation, 2, 9),
        "dilate_within": (fine, None, lower, upper, *relation, 2, 9),
        "match": (fine, out.rows, lower, upper, *relation, 2, None, None),
        "turn": (table, 25),
        "arrange": (table, 3, [*range(len(table))], None),
        "listed": (table,),
        "transpose": (pairs.inputs, pairs.outputs, pairs.starts, rulebook.taps, rulebook.inputs),
    }


def row_arguments(sites: Coords, requires_grad: bool) -> dict[str, tuple]:
    def values(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=requires_grad)

    count = len(sites)
    x, cell = values(count, 3), torch.randperm(2 * count + 2)[:count]
    # Three ops of batch norm have no gradient.
    fixed = [t.detach() for t in (values(count, 3), x, values(3), values(3), values(3))]
    grad, same, mean, scale, shift = fixed
    return {
        "permute": (x, torch.randperm(count)),
        "onto_grid": (x, cell, 2, count + 1),
        "from_grid": (values(2, 3, count + 1), cell),
        "moments": (x,),
        "column_dots": (x, values(count, 3)),
        "affine": (same, scale, shift, grad, 0.2),
        "gated_dots": (*fixed, grad, 0.2),
        "normalise_grad": (*fixed, [mean, scale, shift], 0.2),
        "fold": (mean, scale.square(), scale, None, shift, 1e-5, torch.float32),
    }


def point_arguments(requires_grad: bool) -> dict[str, tuple]:
    def values(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=requires_grad)

    rows = torch.randint(-1, 9, (7, 4))
    return {
        "interpolate": (values(9, 3), values(7, 4), rows),
        "spread": (values(7, 3), values(7, 4), rows, 9),
        "interpolation_dots": (values(9, 3), values(7, 3), rows),
        "first_come": (values(9, 3).detach(), [-1.0, -0.5], [0.5, 0.25], [4, 4], 3),
    }


def arguments(kind: str, sites: Coords, requires_grad: bool) -> dict[str, tuple]:
    geometry = GEOMETRIES[kind]
    return {
        **conv_arguments(sites, geometry, requires_grad),
        **key_arguments(sites, geometry),
        **point_arguments(requires_grad),
        **row_arguments(sites, requires_grad),
    }


def test_every_op_that_is_registered_is_checked_here():
    known = arguments("strided", scene(2).sites, True)
    assert NAMES == sorted(f"gossamer::{name}" for name in known)


@pytest.mark.parametrize("kind", GEOMETRIES)
@pytest.mark.parametrize("name", NAMES)
def test_an_op_is_registered_as_torch_wants_it(backend, name, kind):
    torch.manual_seed(0)
    op = name.removeprefix("gossamer::")
    given = arguments(kind, scene(2).sites, True)[op]
    torch.library.opcheck(getattr(torch.ops.gossamer, op).default, given)


@pytest.mark.parametrize("name", NAMES)
def test_an_op_takes_no_rows(backend, name):
    op = name.removeprefix("gossamer::")
    given = arguments("strided", scene(2, sites=0).sites, True)[op]
    torch.library.opcheck(getattr(torch.ops.gossamer, op).default, given)
