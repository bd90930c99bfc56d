"""`spconv.test_utils`, `spconv.tools` and `spconv.debug_utils`."""

import itertools
import pickle
import time

import numpy as np
import pytest

from gossamer.compat.spconv import constants, debug_utils, test_utils
from gossamer.compat.spconv.tools import CUDAKernelTimer

CASES = [
    ([7], [3], 2, {}),
    ([5, 6], [4, 7], 3, {"integer": True, "data_range": (-5, 9)}),
    ([19, 18, 17], [150, 20], 8, {"dtype": np.float16}),
    ([9, 8, 7], [500], 4, {"data_range": (0.1, 1)}),
    ([4, 4, 6, 6], [10, 0, 20], 1, {"shape_scale": 2}),
    ([9, 8], [5], 2, {"with_dense": False, "dtype": np.float64}),
]


@pytest.mark.parametrize(("shape", "counts", "channels", "options"), CASES)
def test_drawn_sites_are_distinct_and_the_dense_tensor_holds_their_features(
    shape, counts, channels, options
):
    np.random.seed(1)
    data = test_utils.generate_sparse_data(shape, counts, channels, **options)
    indices, features = data["indices"], data["features"]
    assert indices.dtype == np.int32
    assert features.dtype == options.get("dtype", np.float32)
    assert np.bincount(indices[:, -1], minlength=len(counts)).tolist() == counts
    assert len(np.unique(indices, axis=0)) == len(indices)
    assert (indices[:, :-1] % options.get("shape_scale", 1) == 0).all()
    low, high = options.get("data_range", (-1, 1))
    assert ((features >= low) & (features <= high)).all()
    if options.get("with_dense", True):
        dense = np.zeros([len(counts), channels, *shape], features.dtype)
        for row, feature in zip(indices, features, strict=True):
            dense[(row[-1], slice(None), *row[:-1])] = feature
        np.testing.assert_array_equal(data["features_dense"], dense)
        assert data["features_dense"].flags.c_contiguous
    else:
        assert "features_dense" not in data


@pytest.mark.parametrize(("shape", "counts", "channels", "options"), CASES)
def test_a_seed_draws_what_upstream_draws(shape, counts, channels, options):
    theirs = pytest.importorskip("spconv.test_utils")
    found = []
    for module in (test_utils, theirs):
        np.random.seed(50051)
        data = module.generate_sparse_data(shape, counts, channels, **options)
        found.append({**data, "next": np.random.rand(3)})
    assert found[0].keys() == found[1].keys()
    for name, mine in found[0].items():
        np.testing.assert_array_equal(mine, found[1][name])
        assert mine.dtype == found[1][name].dtype


def test_more_sites_than_there_are_are_refused():
    with pytest.raises(ValueError, match=r"num_points is \[3, 17\]; wanted at most 16 a sample"):
        test_utils.generate_sparse_data([4, 4], [3, 17], 2)


def test_a_grid_of_parameters_is_their_product():
    assert test_utils.params_grid([1, 2], "ab", [3.0]) == [
        list(choice) for choice in itertools.product([1, 2], "ab", [3.0])
    ]
    assert test_utils.params_grid([1, 2], []) == []


EQUAL, CLOSE = "assertAllEqual", "assertAllClose"


@pytest.mark.parametrize(
    ("name", "a", "b", "passes"),
    [
        (EQUAL, [1, 2], np.array([1, 2]), True),
        (EQUAL, [1, np.nan], [1, np.nan], True),
        (EQUAL, [1, 2], [1, 3], False),
        (EQUAL, [1, 2], [[1, 2]], False),
        (EQUAL, [1], [1, 1], False),
        (CLOSE, [1, 2], [1 + 1e-7, 2], True),
        (CLOSE, [1, 2], [1 + 1e-4, 2], False),
        (CLOSE, [np.nan], [np.nan], False),
        (CLOSE, 3.0, 3.0, True),
        (CLOSE, [1], [1, 1], False),
        (CLOSE, {"x": [1]}, {"x": [1]}, True),
        (CLOSE, {"x": [1]}, {"x": [2]}, False),
        (CLOSE, {"x": [1]}, {"y": [1]}, False),
    ],
)
def test_arrays_are_compared(name, a, b, passes):
    compare = getattr(test_utils.TestCase(), name)
    if passes:
        compare(a, b)
    else:
        with pytest.raises(AssertionError):
            compare(a, b)


def test_a_dict_is_not_compared_with_an_array():
    with pytest.raises(ValueError, match="a dict cannot be compared"):
        test_utils.TestCase().assertAllClose({"x": [1]}, [1])


def test_tolerances_are_upstreams():
    case = test_utils.TestCase()
    case.assertAllClose([100.0], [100.9], rtol=0.01, atol=0)
    case.assertAllClose([0.0], [0.01], rtol=0, atol=0.01)
    with pytest.raises(AssertionError):
        case.assertAllClose([100.0], [101.9], rtol=0.01, atol=0)


def test_parts_are_timed_by_name():
    timer = CUDAKernelTimer()
    for _ in range(2):
        with timer.namespace("conv1"), timer.record("gemm"):
            time.sleep(0.002)
    with timer.record("gen"):
        pass
    times = timer.get_all_pair_time()
    assert list(times) == ["conv1.gemm", "gen"]
    assert times["conv1.gemm"] >= 4 > times["gen"] >= 0
    assert timer.collect_by_name("gemm", times) == {"conv1.gemm": times["conv1.gemm"]}
    assert timer.collect_by_name("conv", times) == {}
    assert pickle.loads(pickle.dumps(timer)).get_all_pair_time() == times


def test_a_block_that_raises_is_left():
    timer = CUDAKernelTimer()
    with pytest.raises(KeyError), timer.namespace("a"), timer.record("b"):
        raise KeyError
    with timer.record("c"):
        pass
    assert list(timer.get_all_pair_time()) == ["c"]


def test_a_timer_that_is_off_measures_nothing():
    timer = CUDAKernelTimer(enable=False)
    with timer.namespace("a"), timer.record("b"):
        pass
    assert (timer.enable, timer.get_all_pair_time()) == (False, {})


def test_debug_data_go_where_the_setting_says(tmp_path, monkeypatch, capsys):
    path = tmp_path / "data.pkl"
    monkeypatch.setattr(constants, "SPCONV_DEBUG_SAVE_PATH", str(path))
    debug_utils.spconv_save_debug_data({"a": [1, 2]})
    assert pickle.loads(path.read_bytes()) == {"a": [1, 2]}
    assert str(path) in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["data.pkl"]


@pytest.mark.parametrize(
    ("to", "words"), [("", "set SPCONV_DEBUG"), ("/no/such/folder/x", "nothing was written")]
)
def test_debug_data_that_go_nowhere_are_told_and_not_raised(to, words, monkeypatch, capsys):
    monkeypatch.setattr(constants, "SPCONV_DEBUG_SAVE_PATH", to)
    debug_utils.spconv_save_debug_data([1])
    assert words in capsys.readouterr().out


def test_debug_data_that_do_not_pickle_leave_the_old_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "data.pkl"
    path.write_bytes(b"old")
    monkeypatch.setattr(constants, "SPCONV_DEBUG_SAVE_PATH", str(path))
    debug_utils.spconv_save_debug_data(lambda: 0)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
    assert "nothing was written" in capsys.readouterr().out
