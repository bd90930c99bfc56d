"""Sites stay sorted, remember where they came from, and build every rulebook once."""

import copy
import pickle
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossamer import Coords, Geometry, KeyRangeError, SparseTensor, nn
from tests.dense import Kernel, box_taps, downward, gathered, scattered, upward
from tests.scenes import scene, scenes

DOWN = Geometry.of("regular", 2, 3, stride=2, padding=1)
UP = Geometry.of("transposed", 2, 2, stride=2)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_rows_are_sorted_by_batch_then_by_the_axes_from_the_first_on(backend, dtype):
    rows = [[1, -3, 2], [0, 5, -7], [1, -4, 9], [0, 5, -8], [0, -1, 0]]
    sites, order = Coords.of(torch.tensor(rows, dtype=dtype))
    assert sites.rows.tolist() == sorted(rows)
    assert sites.rows.dtype == torch.int32
    assert [rows[i] for i in order.tolist()] == sorted(rows)
    assert [sorted(rows)[i] for i in sites.given.tolist()] == rows


def test_rows_that_come_sorted_are_taken_as_they_are(backend):
    rows = torch.tensor([[0, -3, 2], [0, 5, -7], [2, -4, 9]], dtype=torch.int32)
    sites, order = Coords.of(rows)
    assert sites.rows is rows
    assert order is None
    assert sites.given is None


@given(scenes())
def test_every_output_is_sorted_and_unique(backend, x):
    for kind in ("regular", "transposed", "generative"):
        geometry = Geometry.of(kind, x.ndim, 2, stride=2, padding=1 if kind == "regular" else 0)
        rows = [tuple(row) for row in x.sites.output(geometry).rows.tolist()]
        assert rows == sorted(set(rows))


@given(scenes(), st.data())
def test_without_bounds_the_output_is_every_site_that_some_tap_meets_or_reaches(backend, x, data):
    sites = replace(x.sites, spatial_shape=None)
    kind = data.draw(st.sampled_from(["regular", "transposed", "generative"]))
    stride = [data.draw(st.integers(1, 3)) for _ in range(x.ndim)]
    tap = st.tuples(*[st.integers(-2, 2)] * x.ndim)
    taps = data.draw(st.lists(tap, min_size=1, max_size=4, unique=True))
    geometry = Geometry.of(kind, x.ndim, taps, stride=stride)
    expected = set()
    for (batch, *cell), offset in product(x.coords.tolist(), taps):
        axes = list(zip(cell, stride, offset, strict=True))
        if kind != "regular":
            expected.add((batch, *(c * s + o for c, s, o in axes)))
        elif all((c - o) % s == 0 for c, s, o in axes):
            expected.add((batch, *((c - o) // s for c, s, o in axes)))
    assert [tuple(row) for row in sites.output(geometry).rows.tolist()] == sorted(expected)


def test_the_batch_size_is_the_largest_index_plus_one_unless_given():
    rows = torch.tensor([[0, 1], [4, 1]])
    assert Coords.of(rows)[0].batch_size == 5
    assert Coords.of(rows, batch_size=9)[0].batch_size == 9
    assert Coords.of(rows[:0])[0].batch_size == 0


def test_a_rulebook_is_built_once_and_shared_by_layers(backend):
    sites = scene(2).sites
    again = Geometry.of("regular", 2, (3, 3), stride=(2, 2), padding=(1, 1))
    assert sites.rulebook(DOWN) is sites.rulebook(again)
    assert sites.output(DOWN).rows is sites.output(again).rows
    submanifold = Geometry.of("submanifold", 2, 3)
    one, other = sites.output(DOWN), sites.output(again)
    assert one.rulebook(submanifold) is other.rulebook(submanifold)


def test_the_same_geometry_on_other_sites_is_another_rulebook(backend):
    one, other = scene(2, seed=0).sites, scene(2, seed=1).sites
    assert one.rulebook(DOWN) is not other.rulebook(DOWN)
    kept = one.kept(torch.arange(0, len(one), 2))
    assert kept.rulebook(DOWN) is not one.rulebook(DOWN)
    assert kept.rulebook(DOWN).inputs == len(kept)


def test_caches_do_not_keep_outputs_alive_in_a_circle(backend):
    import gc
    import weakref

    gc.disable()
    try:
        sites = scene(2).sites
        out = sites.output(DOWN)
        rulebook = out.rulebook(Geometry.of("submanifold", 2, 3))
        watch = weakref.ref(sites), weakref.ref(out), weakref.ref(rulebook)
        del out, sites, rulebook
        assert [w() for w in watch] == [None, None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("geometry", [DOWN, UP], ids=str)
def test_the_way_back_is_the_transpose_and_leads_to_the_very_sites(backend, geometry):
    sites = scene(2).sites
    out = sites.output(geometry)
    assert out.origin.coords is sites
    assert torch.equal(out.back().triples(), sites.rulebook(geometry).T.triples())


@pytest.mark.parametrize("geometry", [DOWN, UP], ids=str)
def test_the_way_back_from_fewer_sites_is_the_part_that_is_left(backend, geometry):
    sites = scene(2).sites
    out = sites.output(geometry)
    left = torch.arange(0, len(out), 3)
    back = out.kept(left).back()
    assert (back.inputs, back.outputs) == (len(left), len(sites))
    whole = out.back().triples()
    number = torch.full((len(out),), -1).index_copy(0, left, torch.arange(len(left)))
    whole = torch.stack([whole[:, 0], number[whole[:, 1]], whole[:, 2]], dim=1)
    expected = {tuple(row) for row in whole.tolist() if row[1] >= 0}
    assert {tuple(row) for row in back.triples().tolist()} == expected


@pytest.mark.parametrize("geometry", [DOWN, UP], ids=str)
def test_a_rulebook_onto_given_sites_reads_and_writes_those(backend, geometry):
    sites, target = scene(2).sites, scene(2, 30, seed=5, side=12).sites
    rulebook = sites.onto(geometry, target)
    weight = torch.randn(rulebook.taps, 2, 3)
    x = torch.randn(len(sites), 2)
    grid = scattered(x, sites.rows, 3, (12, 12))
    size = (3, 3) if geometry is DOWN else (2, 2)
    kernel = Kernel(box_taps(size), geometry.stride, geometry.padding, geometry.dilation)
    dense = (downward if geometry is DOWN else upward)(grid, weight, kernel, (12, 12))
    torch.testing.assert_close(rulebook.convolve(x, weight), gathered(dense, target.rows))


def test_strides_multiply_on_the_way_down_and_divide_on_the_way_up(backend):
    sites = Coords.of(scene(2).coords, stride=(2, 3))[0]
    down = sites.output(DOWN)
    assert down.stride == (4, 6)
    assert down.output(UP).stride == (2, 3)
    assert sites.output(UP).stride == (1, 1)  # there is no smaller unit than the input's voxel


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_has_the_sites_and_their_origin_but_no_rulebooks(backend, copied):
    out = scene(2).sites.output(DOWN)
    out.rulebook(Geometry.of("submanifold", 2, 3))
    twin = copied(out)
    assert twin.same_sites(out)
    assert not twin.steps
    assert torch.equal(twin.back().triples(), out.back().triples())


def test_sites_are_the_same_only_on_the_same_grid(backend):
    rows = scene(2).coords
    sites = Coords.of(rows)[0]
    assert sites.same_sites(Coords.of(rows.clone())[0])
    assert not sites.same_sites(Coords.of(rows, stride=2)[0])
    assert not sites.same_sites(Coords.of(rows, batch_size=7)[0])
    assert not sites.same_sites(Coords.of(rows[1:])[0])


# cells an axis, and whether B * product of sizes is below 2**63
SPANS = [
    ((2**30, 2**30, 2**3), 1, False),
    ((2**30, 2**30, 2**3 - 1), 1, True),
    ((2**30, 2**30), 8, False),
    ((2**30, 2**30), 7, True),
]


@pytest.mark.parametrize(("sizes", "batch", "fits"), SPANS)
@pytest.mark.parametrize("bounded", [True, False])
def test_63_bits_are_enough_and_one_more_is_an_error(backend, sizes, batch, fits, bounded):
    corner = torch.tensor([[0] * (1 + len(sizes)), [batch - 1, *[n - 1 for n in sizes]]])
    shape = sizes if bounded else None
    if not fits:
        with pytest.raises(KeyRangeError, match="63-bit key"):
            Coords.of(corner, shape, batch)
        return
    sites, _ = Coords.of(corner, shape, batch)
    point = Geometry.of("submanifold", len(sizes), 1)
    assert sites.rulebook(point).triples().tolist() == [[0, 0, 0], [0, 1, 1]]


@given(st.data())
def test_neighbours_are_never_wrong_at_the_edge_of_what_a_key_can_number(backend, data):
    # Two sites at opposite corners of a huge box, and taps that point out of it.
    sizes = data.draw(st.sampled_from([(2**20, 2**20, 2**21), (2**30, 2**30), (2, 2**30, 2**30)]))
    ndim = len(sizes)
    rows = torch.tensor([[0] * (1 + ndim), [0, *[n - 1 for n in sizes]]])
    sites, _ = Coords.of(rows)
    taps = data.draw(
        st.lists(st.tuples(*[st.integers(-2, 2)] * ndim), min_size=1, max_size=4, unique=True)
    )
    geometry = Geometry.of("submanifold", ndim, taps)
    centre = [tap for tap, offset in enumerate(taps) if not any(offset)]
    try:
        triples = sites.rulebook(geometry).triples().tolist()
    except KeyRangeError:
        return
    assert triples == [[tap, row, row] for tap in centre for row in (0, 1)]


def test_a_kernel_that_reaches_past_what_a_key_can_number_is_an_error(backend):
    sites, _ = Coords.of(torch.tensor([[0, 0, 0, 0], [0, 2**30 - 1, 2**30 - 1, 6]]))
    with pytest.raises(KeyRangeError, match="63-bit key"):
        sites.rulebook(Geometry.of("submanifold", 3, 3))
    edge, _ = Coords.of(torch.tensor([[0, 2**31 - 2]]))
    with pytest.raises(KeyRangeError, match="32-bit"):
        edge.output(Geometry.of("generative", 1, 2, stride=2))


def test_rulebooks_that_inference_has_built_serve_training_too():
    net = nn.SparseSequential(
        nn.SubMConv3d(2, 3, 3), nn.SparseConv3d(3, 4, 2, 2), nn.SparseInverseConv3d(4, 2, 2)
    )
    coords = torch.cartesian_prod(torch.arange(1), *[torch.arange(5)] * 3)
    x = SparseTensor(torch.randn(125, 2), coords, (5, 5, 5))
    with torch.inference_mode():
        expected = net(x).features.clone()
    y = net(x).features
    y.sum().backward()
    torch.testing.assert_close(y, expected)
    assert all(parameter.grad is not None for parameter in net.parameters())
