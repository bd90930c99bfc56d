"""Clouds in a byte an axis: decoded within a cell, in upstream's bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.spconv.core_cc.csrc.utils.pcc import PointCloudCompress

BOTH = PointCloudCompress.EncodeType.XYZI_8
EDGES = 0.05, 0.1, 0.2


def cloud(count: int, dtype=np.float32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-60, 60, (count, 3))
    points[::2] = np.round(points[::2] / EDGES) * EDGES
    points[: count // 4] /= 100
    return points.astype(dtype), rng.integers(0, 256, count).astype(np.uint8)


@given(st.sampled_from([0, 1, 2, 300]), st.booleans(), st.booleans(), st.integers(0, 99))
def test_a_point_comes_back_within_its_cell(count, double, intense, seed):
    points, intensity = cloud(count, np.float64 if double else np.float32, seed)
    given = tv.from_numpy(points), tv.from_numpy(intensity), *EDGES
    kind = BOTH if intense else PointCloudCompress.EncodeType.XYZ_8
    data, order = PointCloudCompress.encode_with_order(*given, kind, with_order=True)
    decoded, rows = PointCloudCompress.decode(data).numpy(), order.numpy()
    assert sorted(rows) == list(range(count))
    assert decoded.shape == (count, 4 if intense else 3)
    below = points[rows] - decoded[:, :3]
    assert ((below > -2e-5) & (below < np.array(EDGES) + 2e-5)).all()
    if intense:
        assert decoded[:, 3].tolist() == intensity[rows].tolist()
    blocks = np.floor(points[rows].astype(np.float32) / np.float32(EDGES)) // 256
    changes = (np.diff(blocks, axis=0) != 0).any(axis=1).sum() + min(count, 1)
    assert data.size == 52 + 16 * changes + (4 if intense else 3) * count


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_the_bytes_are_upstreams(dtype, count):
    real = pytest.importorskip("cumm.tensorview")
    theirs = pytest.importorskip("spconv.core_cc.csrc.utils.pcc").PointCloudCompress
    points, intensity = cloud(count, dtype)
    for name in ("encode_xyz", "encode_xyzi")[: 2 if count else 1]:  # upstream's needs a point
        rows = [points, intensity][: 2 if name.endswith("i") else 1]
        mine = getattr(PointCloudCompress, name)(*map(tv.from_numpy, rows), *EDGES)
        his = getattr(theirs, name)(*map(real.from_numpy, rows), *EDGES)
        assert mine.numpy().tobytes() == his.numpy().tobytes()
        found = PointCloudCompress.decode(mine).numpy(), theirs.decode(his).numpy()
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b[:10], "data has 10 bytes; wanted a header"),
        (lambda b: b[:-1], "wanted what encode"),
        (lambda b: b + b"x", "wanted what encode"),
        (lambda b: b[:8] + b"\x07" + b[9:], "kind 7"),
        (lambda b: b[:23] + b"\xff" + b[24:], "wanted what encode"),
        (lambda b: b[:52] + b"\x09" + b[53:], "do not hold 40 points"),
    ],
)
def test_damaged_bytes_are_refused(damage, words):
    whole = PointCloudCompress.encode_xyz(tv.from_numpy(cloud(40)[0]), *EDGES).numpy().tobytes()
    broken = np.frombuffer(damage(whole), np.uint8)
    with pytest.raises(ValueError, match=words):
        PointCloudCompress.decode(tv.from_numpy(broken))


@pytest.mark.parametrize(
    ("points", "intensity", "edge", "words"),
    [
        (np.zeros((2, 2)), np.zeros(2), 0.1, r"points has shape \(2, 2\)"),
        (np.zeros((2, 3)), np.zeros(3), 0.1, r"intensity has shape \(3,\); wanted \[2\]"),
        (np.zeros((2, 3)), np.array([0, 256]), 0.1, "outside 0 to 255"),
        (np.zeros((2, 3)), np.zeros(2), 0.0, "wanted positive lengths"),
        (np.full((2, 3), np.nan), np.zeros(2), 0.1, "not finite"),
        (np.full((2, 3), 1e30), np.zeros(2), 0.1, "cells away"),
    ],
)
def test_what_cannot_be_encoded_is_named(points, intensity, edge, words):
    with pytest.raises(ValueError, match=words):
        PointCloudCompress.encode_xyzi(*map(tv.from_numpy, (points, intensity)), edge, edge, edge)
