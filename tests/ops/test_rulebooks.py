"""A rulebook is the set of all triples of one relation, laid out in tiles, and read both ways."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer.coords import Coords
from gossamer.geometry import Cross, Geometry
from gossamer.ops.dispatch import use_backend
from gossamer.ops.rulebooks import TILE
from gossamer.rulebook import Pairs, Rulebook
from tests.scenes import covering, scene, scenes

pytestmark = pytest.mark.any_backend
KINDS = ["submanifold", "regular", "transposed", "generative"]


@st.composite
def geometries(draw, ndim: int) -> Geometry:
    kind = draw(st.sampled_from(KINDS))
    sizes = [1, 3] if kind == "submanifold" else [1, 2, 3]
    kernel = [draw(st.sampled_from(sizes)) for _ in range(ndim)]
    if draw(st.booleans()):
        tap = st.tuples(*[st.integers(-2, 2)] * ndim)
        kernel = draw(st.lists(tap, min_size=1, max_size=5, unique=True))
    stride = 1 if kind == "submanifold" else [draw(st.integers(1, 3)) for _ in range(ndim)]
    padding = [draw(st.integers(0, 2)) for _ in range(ndim)]
    dilation = [draw(st.integers(1, 2)) for _ in range(ndim)]
    downsample = draw(st.sampled_from(["spconv", "minkowski"]))
    return Geometry.of(
        kind,
        ndim,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        downsample=downsample,
    )


def relation(geometry: Geometry, inputs: torch.Tensor, outputs: torch.Tensor) -> set[tuple]:
    """Every (tap, input row, output row) with fine = coarse * stride - padding + tap * dilation."""
    triples = set()
    for (i, (batch, *a)), (o, (other, *b)) in product(
        enumerate(inputs.tolist()), enumerate(outputs.tolist())
    ):
        fine, coarse = (b, a) if geometry.is_upward else (a, b)
        for tap, position in enumerate(geometry.taps):
            axes = zip(
                coarse, geometry.stride, geometry.padding, position, geometry.dilation, strict=True
            )
            if batch == other and fine == [c * s - p + t * d for c, s, p, t, d in axes]:
                triples.add((tap, i, o))
    return triples


@given(st.data())
def test_a_rulebook_is_every_triple_of_the_relation(backend, data):
    x = data.draw(scenes())
    unbounded = replace(x.sites, spatial_shape=None)
    geometry = data.draw(geometries(x.ndim))
    rulebook = unbounded.rulebook(geometry)
    expected = relation(geometry, x.coords, unbounded.output(geometry).rows)
    triples = [tuple(row) for row in rulebook.triples().tolist()]
    assert len(triples) == len(set(triples))
    assert set(triples) == expected
    assert {(tap, o, i) for tap, i, o in triples} == {*map(tuple, rulebook.T.triples().tolist())}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [False, True])
def test_pairs_are_laid_out_by_tile_then_slot_then_output(cpu_backend, kind, backwards):
    x = scene(2, sites=2600, side=60, batch=1)
    rulebook = x.sites.rulebook(Geometry.of(kind, 2, 3))
    rulebook = rulebook.T if backwards else rulebook
    inputs, outputs, starts, taps = rulebook.layout
    tiles = -(-rulebook.outputs // TILE)
    assert tiles > 4
    assert (inputs.dtype, outputs.dtype, starts.dtype) == (torch.int32, torch.int32, torch.int64)
    assert starts.shape == (tiles * rulebook.taps + 1,)
    assert starts[0] == 0
    assert starts[-1] == len(inputs) == len(outputs)
    assert (starts.diff() >= 0).all()
    for group, (begin, end) in enumerate(pairwise(starts)):
        rows = outputs[begin:end]
        assert (rows // TILE == group // rulebook.taps).all()
        assert (rows.diff() > 0).all()
    assert sorted(taps.tolist()) == list(range(rulebook.taps))


@pytest.mark.parametrize(
    "case",
    covering(
        ndim=[1, 2, 3, 4],
        kind=KINDS,
        kernel=[1, 2, 3, "cross", "line", "far"],
        stride=[1, 2, 3],
        padding=[0, 1],
        dilation=[1, 2],
        bounded=[True, False],
        sites=[None, 0, 1],
    ),
    ids=str,
)
def test_backends_make_the_same_rulebook_bit_for_bit(case):
    geometry = geometry_of(case)
    results = []
    for name in ("reference", "numba"):
        sites = scene(case["ndim"], case["sites"], bounded=case["bounded"]).sites
        with use_backend(name):
            rulebook = sites.rulebook(geometry)
            made = [sites.output(geometry).rows, *rulebook.layout]
            results.append([*made, *replace(rulebook, mirror=None).T.layout])
    for definition, compiled in zip(*results, strict=True):
        assert definition.dtype == compiled.dtype
        assert torch.equal(definition, compiled)


LAYOUTS = {
    "a long line": (1, 6000, 9000),
    "a long line with gaps": (1, 6000, 500_000),
    "long lines": (2, 5000, 1500),
    "crowded": (3, 3000, 15),
}


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_long_and_crowded_lines_make_the_rulebook_of_the_definition(name, stride):
    ndim, count, last = LAYOUTS[name]
    shape = (15,) * (ndim - 1) + (last,)
    cells = torch.randperm(torch.Size(shape).numel(), generator=torch.Generator().manual_seed(0))
    axes = torch.unravel_index(cells[:count].sort().values, shape)
    rows = torch.stack([torch.zeros(count, dtype=torch.int64), *axes], dim=1)
    kind = "submanifold" if stride == 1 else "regular"
    results = []
    for backend in ("reference", "numba"):
        with use_backend(backend):
            sites, _ = Coords.of(rows)
            geometry = Geometry.of(kind, ndim, 5, stride=stride, dilation=stride)
            made = [sites.output(geometry).rows, *sites.rulebook(geometry).layout]
            results.append([*made, *replace(sites.rulebook(geometry), mirror=None).T.layout])
    for definition, compiled in zip(*results, strict=True):
        assert torch.equal(definition, compiled)


def geometry_of(case: dict) -> Geometry:
    """The geometry that a case asks for, where the kind allows it."""
    kind, ndim, kernel = case["kind"], case["ndim"], case["kernel"]
    centred = kind == "submanifold"
    if kernel == "cross":
        kernel = Cross(3)
    elif kernel == "line":
        kernel = [1] * (ndim - 1) + [5]
    elif kernel == "far":  # taps far apart, and none opposite another
        kernel = [(0,) * ndim, (1,) * ndim, (0,) * (ndim - 1) + (11,), (-2,) * ndim]
    elif kernel == 2 and centred:
        kernel = 5 if ndim < 4 else 3
    stride = 1 if centred else case["stride"]
    # Every axis has a size, so a kernel that spans more than the grid is padded to fit.
    padding = 12 if case["kernel"] == "far" else case["padding"] + case["dilation"]
    padding = padding if kind == "regular" else 0
    options = {"stride": stride, "padding": padding, "dilation": case["dilation"]}
    return Geometry.of(kind, ndim, kernel, **options)


@pytest.mark.parametrize("name", ["grouping", "sending"])
def test_backends_turn_rulebooks_of_groups_the_same_way(name):
    rng = torch.Generator().manual_seed(0)
    group = torch.randint(0, 1500, (4000,), generator=rng)
    order = group.argsort(stable=True)
    pairs = []
    for backend in ("reference", "numba"):
        with use_backend(backend):
            rulebook = (
                Rulebook.grouping(group[order], 1500)
                if name == "grouping"
                else Rulebook.sending(order, group[order], 1500, 4000)
            )
            pairs.append(rulebook.T.layout)
    for definition, compiled in zip(*pairs, strict=True):
        assert torch.equal(definition, compiled)


@pytest.mark.parametrize("kernel", [1, 3, (1, 5), [(0, 0), (1, 2), (-1, -2)]])
def test_the_mirrored_submanifold_rulebook_is_its_transpose(backend, kernel):
    rulebook = scene(2, sites=700, side=40).sites.rulebook(Geometry.of("submanifold", 2, kernel))
    assert rulebook.mirror is not None
    explicit = replace(rulebook, sides={False: rulebook.layout}, mirror=None)
    assert torch.equal(rulebook.T.triples(), explicit.T.triples())


def test_a_submanifold_kernel_without_a_mirror_is_transposed_in_full(backend):
    geometry = Geometry.of("submanifold", 2, [(0, 0), (0, 1), (2, 1)])
    rulebook = scene(2).sites.rulebook(geometry)
    assert rulebook.mirror is None
    swapped = rulebook.triples()[:, [0, 2, 1]]
    assert {*map(tuple, rulebook.T.triples().tolist())} == {*map(tuple, swapped.tolist())}


def test_the_transpose_of_the_transpose_is_the_same_rulebook(backend):
    rulebook = scene(2).sites.rulebook(Geometry.of("regular", 2, 3, stride=2))
    assert rulebook.T.T.layout is rulebook.layout
    assert (rulebook.T.inputs, rulebook.T.outputs) == (rulebook.outputs, rulebook.inputs)
    assert rulebook.T.layout is rulebook.T.T.T.layout


def test_figures_of_a_rulebook_count_its_triples(backend):
    rulebook = scene(2).sites.rulebook(Geometry.of("regular", 2, 3, stride=2))
    tap, source, target = rulebook.triples().unbind(1)
    assert torch.equal(rulebook.pairs_per_tap(), tap.bincount(minlength=9))
    assert torch.equal(rulebook.counts(), target.bincount(minlength=rulebook.outputs))
    assert torch.equal(rulebook.T.counts(), source.bincount(minlength=rulebook.inputs))
    assert rulebook.T.pairs_per_tap().tolist() == rulebook.pairs_per_tap().tolist()


def test_memory_is_that_of_the_lists_and_a_shared_one_counts_once(cpu_backend):
    rulebook = scene(2).sites.rulebook(Geometry.of("submanifold", 2, 3))
    before = rulebook.nbytes
    assert before == sum(t.nbytes for t in rulebook.layout)
    taps: Pairs = rulebook.T.layout  # the mirror shares all lists but the taps
    assert rulebook.nbytes == before + taps.taps.nbytes
