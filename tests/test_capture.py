"""A fixed number of rows: what lies behind the sites is never read, and too many are reported."""

import copy

import pytest
import torch

from gossamer import CapacityError, Coords, SparseTensor, capture, nn
from gossamer.coords import Steps
from gossamer.coords.ahead import PATIENCE, TRAIL
from gossamer.ops.dispatch import use_backend
from tests.scenes import scene

pytestmark = pytest.mark.interpreter


@pytest.fixture(autouse=True)
def on_triton(garbage):
    with use_backend("triton"):
        yield


NETWORKS = {
    "down and up": lambda: nn.SparseSequential(
        nn.SubMConv2d(4, 8, 3, bias=False),
        nn.BatchNorm(8),
        nn.ReLU(),
        nn.SparseConv2d(8, 8, 3, 2, 1),
        nn.SparseMaxPool2d(2),
        nn.SparseSumUnpool(),
        nn.SparseInverseConv2d(8, 3, 3),
    ),
    "floored": lambda: nn.SparseConv2d(4, 6, 2, 2, downsample="minkowski"),
    "transposed": lambda: nn.SparseConvTranspose2d(4, 6, 2, 2),
    "generative": lambda: nn.SparseGenerativeConvTranspose2d(4, 6, 3, 2),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "global max": nn.SparseGlobalMaxPool,
    "global avg": nn.SparseGlobalAvgPool,
    "pools": lambda: nn.SparseSequential(nn.SparseAvgPool2d(3, 2, 1), nn.SparseSumPool2d(2)),
}


def model_of(name: str):
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


def spoiled(x: SparseTensor, kind: str) -> SparseTensor:
    """`x` with garbage where there is no site."""
    count = int(x.sites.fill.count)
    x.features[count:] = torch.nan
    behind = x.coords[count:]
    if kind == "far":
        behind.fill_(2**31 - 1)
    elif kind == "negative":
        behind.fill_(-7)
    else:  # sites that there are, once more
        behind.copy_(x.coords[:1].expand_as(behind))
    return x


def values(result) -> list[torch.Tensor]:
    if isinstance(result, SparseTensor):
        result = result.trimmed()
        return [result.coords, result.features]
    return [result]


@pytest.mark.parametrize("kind", ["far", "negative", "again"])
@pytest.mark.parametrize("name", NETWORKS)
def test_rows_behind_the_count_are_never_read(name, kind):
    x, model = scene(2, sites=25), model_of(name)
    with torch.no_grad():
        expected = values(model(x))
        result = values(model(spoiled(x.padded(40, growth=2.0), kind)))
    for got, wanted in zip(result, expected, strict=True):
        # A mean over a sample adds in chunks that follow from the number of rows.
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


def test_a_dense_grid_leaves_out_what_is_no_site():
    x = scene(2, sites=12)
    assert torch.equal(spoiled(x.padded(20), "again").dense(), x.dense())


@pytest.mark.parametrize("sites", [0, 1, 25, 40])
def test_a_captured_network_gives_what_the_network_gives(sites):
    model, example = model_of("down and up"), scene(2, sites=25)
    captured = capture(model, example, capacity=40, growth=2.0)
    for seed in (1, 2):
        x = scene(2, sites=sites, seed=seed)
        with torch.no_grad():
            expected = model(x)
        result = captured(x)
        assert torch.equal(result.coords, expected.coords)
        torch.testing.assert_close(result.features, expected.features)
        assert result.sites.fill is None


def test_results_stay_what_they_are_when_the_network_runs_again():
    captured = capture(model_of("floored"), scene(2, sites=25))
    first = captured(scene(2, sites=20, seed=1))
    kept = first.features.clone(), first.coords.clone()
    captured(scene(2, sites=25, seed=2))
    assert torch.equal(first.features, kept[0]) and torch.equal(first.coords, kept[1])


def test_too_many_sites_are_reported():
    captured = capture(model_of("floored"), scene(2, sites=20))
    assert captured.capacity == 24
    with pytest.raises(CapacityError, match="x has 25 sites; wanted at most 24"):
        captured(scene(2, sites=25, seed=1))
    with pytest.raises(CapacityError, match="there are 20 sites; wanted at most 19"):
        scene(2, sites=20).padded(19)


def test_a_level_without_place_is_reported_also_when_the_result_is_on_another():
    rows = [[0, 4 * i, 4 * j] for i in range(3) for j in range(3)]  # each makes four of its own
    coords = torch.tensor(rows, dtype=torch.int32) + torch.tensor([0, 1, 1])
    x = SparseTensor(torch.ones(9, 4), coords, (12, 12), 1)
    there = nn.SparseConv2d(4, 4, 3, 2, 1)
    model = nn.SparseSequential(there, nn.SparseInverseConv2d(4, 4, 3)).eval()
    with torch.no_grad():
        assert len(there(x)) == 36
        with pytest.raises(CapacityError, match=r"stride \(2, 2\) has 36 sites and 9 rows"):
            model(x.padded(9)).trimmed()
        with pytest.raises(CapacityError, match="larger capacity or growth"):
            capture(model, x)(x)
        exact = capture(model, x, growth=4.0)(x)
        torch.testing.assert_close(exact.features, model(x).features)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": torch.float16}, "dtype of x is torch.float16; wanted torch.float32"),
        ({"channels": 3}, "channels of x is 3; wanted 4"),
        ({"batch": 2}, "batch_size of x is 2; wanted 3"),
        ({"side": 9}, "spatial_shape of x is"),
    ],
)
def test_what_is_not_like_the_captured_tensor_is_refused(change, words):
    captured = capture(model_of("floored"), scene(2, sites=20))
    with pytest.raises(ValueError, match=words):
        captured(scene(2, **{"sites": 10, **change}))


@pytest.mark.parametrize("last", [nn.ToDense, nn.SparseGlobalMaxPool])
def test_a_level_without_place_is_reported_also_when_the_result_is_a_plain_tensor(last):
    x = scene(2, sites=40)
    model = nn.SparseSequential(nn.SparseConv2d(4, 4, 3, 2, 1), last()).eval()
    with pytest.raises(CapacityError, match=r"stride \(2, 2\)"):
        capture(model, x, growth=0.2)(x)
    with torch.no_grad():
        torch.testing.assert_close(capture(model, x, growth=4)(x), model(x))


def test_results_on_the_same_sites_share_them():
    first, second = nn.SparseConv2d(4, 4, 3, 2, 1), nn.SubMConv2d(4, 4, 3)

    class Two(torch.nn.Module):
        def forward(self, x):
            y = first(x)
            return {"a": y, "b": [second(y), y.features]}

    x = scene(2, sites=20)
    result = capture(Two().eval(), x, growth=4)(x)
    assert result["a"].sites is result["b"][0].sites
    assert len(result["b"][1]) > len(result["a"])  # a plain tensor has every row


def test_a_captured_network_takes_tensors_of_any_mode():
    model = model_of("floored")
    with torch.inference_mode():
        captured = capture(model, scene(2, sites=20))
    x = scene(2, sites=20, seed=1)
    features = x.features.clone().requires_grad_()
    for _ in range(2):
        y = captured(SparseTensor(features, x.sites))
    assert y.features.grad_fn is None
    assert captured._input.features.grad_fn is None
    with pytest.raises(ValueError, match="can't take a padded one"):
        captured(x.padded(22))


def test_a_padded_tensor_has_no_gradients_and_says_so():
    x, model = scene(2, sites=20).padded(30), nn.SubMConv2d(4, 4, 3)
    with pytest.raises(ValueError, match="a padded tensor has no gradients"):
        model(x)
    features = x.features.clone().requires_grad_()
    with pytest.raises(ValueError, match=r"torch\.no_grad"):
        nn.SparseMaxPool2d(2)(x.with_features(features))


def test_a_copy_can_not_tell_whether_there_was_place():
    with torch.no_grad():
        y = nn.SparseConv2d(4, 4, 3, 2, 1)(scene(2, sites=20).padded(30, growth=4))
    with pytest.raises(ValueError, match="these sites were copied"):
        copy.deepcopy(y).trimmed()


def test_without_bounds_a_tensor_has_to_lie_where_the_captured_one_did():
    def x(*places: int) -> SparseTensor:
        rows = torch.tensor([[0, p, p] for p in places], dtype=torch.int32)
        return SparseTensor(torch.ones(len(rows), 4), rows, batch_size=1)

    model = model_of("floored")
    captured = capture(model, x(-3, 0, 5))
    torch.testing.assert_close(captured(x(-1, 4)).features, model(x(-1, 4)).features)
    with pytest.raises(ValueError, match="give both tensors one spatial_shape"):
        captured(x(0, 6))


def test_what_needs_the_number_of_sites_says_so():
    x = scene(2, sites=10).padded(16)
    with pytest.raises(ValueError, match="use trimmed"):
        x.prune(torch.ones(16, dtype=torch.bool))
    with pytest.raises(ValueError, match="use trimmed"):
        _ = x + scene(2, sites=5, seed=1).padded(16)
    with pytest.raises(ValueError, match="batch norm can't take its statistics"):
        nn.BatchNorm(4)(x)
    with pytest.raises(ValueError, match="batch norm can't take its statistics"):
        nn.SparseSequential(nn.BatchNorm(4), nn.ReLU())(x)
    with pytest.raises(ValueError, match=r"wanted eval mode; call model\.eval"):
        capture(nn.SubMConv2d(4, 4, 3), scene(2))
    with pytest.raises(ValueError, match="growth is 0"):
        scene(2).padded(99, growth=0)


def test_a_cpu_knows_its_sizes_and_needs_no_fixed_ones():
    with use_backend("reference"), pytest.raises(ValueError, match="use the tensor as it is"):
        scene(2).padded(99)


def test_nothing_is_counted_twice_in_a_pyramid_seen_before(monkeypatch):
    """From the second time on, all levels of a network are made with one look at the device."""
    from gossamer.ops.keys import triton as keys

    calls = []
    for name in ("coarsen", "coarsen_within"):
        real = getattr(keys, name)
        monkeypatch.setattr(keys, name, lambda *a, real=real, n=name: calls.append(n) or real(*a))
    model = nn.SparseSequential(
        nn.SparseConv2d(4, 4, 3, 2, 1),
        nn.SubMConv2d(4, 4, 3),
        nn.SparseConv2d(4, 4, 3, 2, 1),
        nn.SparseMaxPool2d(2),
    )
    shape = (61, 67)  # no other test has it, so nothing is remembered of it
    for seed in range(3):
        x = scene(2, sites=30, side=60, seed=seed)
        x = SparseTensor(x.features, x.coords, shape, x.batch_size)
        calls.clear()
        with torch.no_grad():
            y = model(x)
        # The levels themselves ask the host for their size; coarsen_within alone does not.
        asked = [name for name in calls if name == "coarsen"]
        assert len(asked) == (3 if seed == 0 else 0)
        with use_backend("reference"), torch.no_grad():
            fresh = Coords(x.coords, x.sites.box, shape, x.batch_size, x.stride, steps=Steps())
            expected = model(SparseTensor(x.features, fresh))
        assert torch.equal(y.coords, expected.coords)
        torch.testing.assert_close(y.features, expected.features, rtol=1e-4, atol=1e-5)


def test_a_level_that_can_not_be_made_ahead_troubles_nobody_who_does_not_want_it():
    """Seen near the origin, a finer level reaches no further than 32 bits; far out it does."""
    down = nn.SparseConv2d(4, 4, 3, 2, 1)
    up = nn.SparseGenerativeConvTranspose2d(4, 4, 3, 8)

    def x(place: int) -> SparseTensor:
        rows = torch.tensor([[0, place, place]], dtype=torch.int32)
        return SparseTensor(torch.ones(1, 4), rows, stride=7)  # a grid that no other test has

    with torch.no_grad():
        up(down(x(3)))
        for _ in range(2):
            assert len(down(x(1 << 30))) == 1


def test_what_is_asked_for_no_more_is_forgotten():
    first, second = nn.SparseConv2d(4, 4, 3, 2, 1), nn.SparseConv2d(4, 4, 2, 2)
    x = scene(2, sites=12)

    def sites() -> SparseTensor:
        return SparseTensor(x.features, x.coords, (57, 59), 3)  # a grid that no other test has

    with torch.no_grad():
        start = sites()
        first(start)
        second(start)
        for _ in range(PATIENCE + 2):
            start = sites()
            first(start)
    trail = start.sites.steps[TRAIL]
    assert [key[0] for key in trail] == [first.geometry]
