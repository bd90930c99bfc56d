"""Random clouds of every make, and what it means that two are the same."""

import torch
from hypothesis import strategies as st

from gossamer.point_cloud import PointCloud

NAMES = (
    "intensity ring time red green blue return_number number_of_returns gps_time intensity_ nir"
).split()
KINDS = ("zero", "small", "bytes", "words", "real", "special")
ROLES = ("labels", "instances", "batch")


@st.composite
def clouds(draw, names=NAMES, roles=ROLES, low=-(2**31), high=2**31 - 1, finite=False):
    """A cloud with any of these features and roles, whose integers lie from `low` to `high`."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    points = draw(st.sampled_from([0, 1, 2, 33]))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=len(names), max_size=len(names)))
    picked = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    columns = [column(kind, points, generator) for kind, _ in zip(kinds, picked, strict=False)]
    positions = torch.rand(points, 3, generator=generator, dtype=torch.float64) * 200 - 100
    if draw(st.booleans()):
        positions = positions.float()
    if not finite and points and draw(st.booleans()):
        positions[0, 1] = draw(st.sampled_from([float("nan"), float("inf"), 1e-30]))
    given = {role: draw(integers(points, low, high)) for role in roles if draw(st.booleans())}
    features = torch.stack(columns, 1) if columns else torch.empty(points, 0)
    return PointCloud(positions, features, tuple(picked), **given)


def column(kind: str, points: int, generator: torch.Generator) -> torch.Tensor:
    whole = {"zero": 1, "small": 8, "bytes": 256, "words": 65536}
    if kind in whole:
        return torch.randint(whole[kind], (points,), generator=generator).float()
    values = torch.randn(points, generator=generator)
    special = [float("nan"), float("-inf"), 1e-42, 3.4e38, -0.0, 65536.0, 16777215.0]
    return values if kind == "real" else torch.tensor([*special, *values])[:points]


@st.composite
def integers(draw, points: int, low: int, high: int) -> torch.Tensor:
    few = st.integers(max(low, 0), min(high, 3))
    values = draw(st.sampled_from([st.just(0), few, st.integers(low, high)]))
    return torch.tensor(draw(st.lists(values, min_size=points, max_size=points)), dtype=torch.int64)


def assert_same(came: PointCloud, wanted: PointCloud) -> None:
    """Same points, same features in the same order, same labels: dtype, shape and every bit."""
    assert came.names == wanted.names
    for name in ("positions", "features"):
        a, b = getattr(came, name), getattr(wanted, name)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        # 0 tolerance, and NaN where NaN was
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert_same_roles(came, wanted)


def assert_same_roles(came: PointCloud, wanted: PointCloud) -> None:
    for role in ROLES:
        a, b = getattr(came, role), getattr(wanted, role)
        assert (a is None) == (b is None), role
        assert a is None or (a.dtype == torch.int64 and torch.equal(a, b)), role
