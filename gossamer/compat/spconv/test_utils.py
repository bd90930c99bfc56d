"""`spconv.test_utils`: what upstream's tests compare arrays with and draw their sites by."""

import itertools
import unittest
from collections.abc import Callable, Sequence

import numpy as np


class TestCase(unittest.TestCase):
    """Assertions on arrays, and on what NumPy makes arrays of."""

    def assertAllEqual(self, a, b) -> None:
        """`a` and `b` have one shape and the same elements, where NaN equals NaN."""
        np.testing.assert_array_equal(*self._of_one_shape(a, b))

    def assertAllClose(self, a, b, rtol: float = 1e-6, atol: float = 1e-6, msg: str = "") -> None:
        """`a` and `b`, arrays or dicts of arrays, differ by at most `atol + rtol * |b|`.

        Raises:
            ValueError: one of them is a dict and the other is none.
        """
        if isinstance(a, dict) != isinstance(b, dict):
            raise ValueError(f"a dict cannot be compared with an array: {a} and {b}. {msg}")
        if not isinstance(a, dict):
            a, b = {"": a}, {"": b}
        self.assertCountEqual(a, b, msg)
        for key in a:
            what = f"{key}: {msg}" if key else msg
            pair = self._of_one_shape(a[key], b[key])
            np.testing.assert_allclose(*pair, rtol=rtol, atol=atol, equal_nan=False, err_msg=what)

    def _of_one_shape(self, a, b) -> tuple[np.ndarray, np.ndarray]:
        a, b = np.asarray(a), np.asarray(b)
        self.assertEqual(a.shape, b.shape, f"shapes differ: {a.shape} and {b.shape}")
        return a, b


def params_grid(*params: Sequence) -> list[list]:
    """Every choice of one element of each sequence, the last one changing fastest."""
    return [list(choice) for choice in itertools.product(*params)]


def generate_sparse_data(
    shape: Sequence[int],
    num_points: Sequence[int],
    num_channels: int,
    integer: bool = False,
    data_range: tuple[float, float] = (-1, 1),
    with_dense: bool = True,
    dtype=np.float32,
    shape_scale: int = 1,
) -> dict[str, np.ndarray]:
    """Random sites of a batch with random features, drawn from NumPy's global generator.

    A seed draws the same sites and features as upstream's function does.

    Args:
        shape: size of the grid, an axis each.
        num_points: sites of each sample; at most as many as there are in the grid.
        num_channels: C.
        integer: features are whole numbers, the upper bound of `data_range` left out.
        data_range: bounds of features.
        with_dense: whether to return the dense tensor too.
        dtype: of features.
        shape_scale: sites lie on multiples of it.

    Returns:
        features: [N, C].
        indices: [N, D + 1] int32, the sample LAST.
        features_dense: [B, C, *shape], if wanted.

    Raises:
        ValueError: a sample shall have more sites than there are.
    """
    counts = np.asarray(num_points)
    indices = _drawn_sites([size // shape_scale for size in shape], counts, shape_scale)
    draw: Callable = np.random.randint if integer else np.random.uniform
    features = draw(*data_range, size=[counts.sum(), num_channels]).astype(dtype)
    result = {"features": features}
    if with_dense:
        dense = np.zeros([len(counts), *shape, num_channels], dtype=dtype)
        dense[(indices[:, -1], *indices[:, :-1].T)] = features
        result["features_dense"] = np.ascontiguousarray(np.moveaxis(dense, -1, 1))
    return result | {"indices": indices.astype(np.int32)}


def _drawn_sites(sizes: list[int], counts: np.ndarray, scale: int) -> np.ndarray:
    # Shuffling moves rows, so which row was where counts as much as the seed: NumPy's "xy" grid,
    # shuffled again for every sample as the last one left it.
    sites = np.stack(np.meshgrid(*map(np.arange, sizes)), axis=-1).reshape(-1, len(sizes)) * scale
    if counts.size and counts.max() > len(sites):
        raise ValueError(f"num_points is {counts.tolist()}; wanted at most {len(sites)} a sample")
    drawn = []
    for sample, count in enumerate(counts):
        np.random.shuffle(sites)
        chosen = sites[:count]
        drawn.append(np.column_stack([chosen, np.full(len(chosen), sample)]))
    return np.concatenate(drawn)
