"""`cumm.tensorview`: arrays under upstream's names, with upstream's numbers for dtypes."""

import copy
import pickle

import numpy as np
import pytest

from gossamer.compat import cumm
from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.cumm.tensorview.gemm import Activation

DTYPES = "float32 int32 int16 int8 float64 bool_ uint8 float16 int64 uint16 uint32 uint64".split()


def grid(dtype="int32") -> np.ndarray:
    return np.arange(12, dtype=dtype).reshape(3, 4)


def test_a_tensor_is_an_array_and_shares_its_memory():
    array = grid()
    tensor = tv.from_numpy(array)
    assert (tensor.shape, tensor.ndim, tensor.size, tensor.dtype) == ([3, 4], 2, 12, tv.int32)
    assert (tensor.dim(0), tensor.dim(-1), tensor.stride, tensor.itemsize) == (3, 4, [4, 1], 4)
    assert (tensor.device, tensor.bytesize(), tensor.empty()) == (-1, 48, False)
    copies = tensor.numpy(), tensor.clone(), tensor.cpu(), tensor.cuda()
    array[0, 0] = 99
    assert tensor.numpy_view() is array
    assert [np.asarray(c)[0, 0] for c in copies] == [0, 0, 0, 0]
    tensor.numpy_view()[1, 1] = 77
    assert array[1, 1] == 77


@pytest.mark.parametrize(
    "part",
    [
        lambda a: a[0],
        lambda a: a[-1],
        lambda a: a[1:],
        lambda a: a[:, 1],
        lambda a: a[0:2, 1:3],
        lambda a: a[..., 0],
        lambda a: a[np.int64(1)],
        lambda a: a[::2],
        lambda a: a[5:9],
        lambda a: a.T,
        lambda a: a[1:2].squeeze(),
        lambda a: a[1:2].squeeze(0),
        lambda a: a.transpose(1, 0),
    ],
)
def test_parts_are_those_of_the_array_and_share_its_memory(part):
    array = grid()
    mine, wanted = part(tv.from_numpy(array)), part(array)
    np.testing.assert_array_equal(mine.numpy(), wanted)
    assert mine.shape == list(wanted.shape)
    array += 100
    np.testing.assert_array_equal(mine.numpy_view(), wanted)


def test_views_have_upstreams_names():
    tensor = tv.from_numpy(grid())
    assert tensor.view([4, -1]).shape == [4, 3]
    assert tensor.unsqueeze(0).shape == [1, 3, 4]
    assert tensor.squeeze(0).shape == [3, 4]
    assert tensor.select(1, 2).numpy().tolist() == [2, 6, 10]
    assert tensor.slice_first_axis(1, 3).numpy().tolist() == grid()[1:3].tolist()
    assert tensor.slice_axis(1, 1, 3).numpy().tolist() == grid()[:, 1:3].tolist()
    assert tensor.type_view(tv.int64).shape == [3, 2]
    assert tensor.type_view(tv.int16, [2, 12]).numpy().ravel()[::2].tolist() == list(range(12))
    assert tensor.T.clone().is_contiguous()
    assert not tensor.T.is_contiguous()
    assert tensor[0, 1].numpy() == 1


def test_tensors_are_written_in_place():
    array = grid()
    tensor = tv.from_numpy(array)
    assert tensor.zero_() is tensor
    assert not array.any()
    assert tensor.fill_int_(3) is tensor
    assert (array == 3).all()
    tensor.copy_(tv.from_numpy(grid()))
    assert array.tolist() == grid().tolist()
    with pytest.raises(ValueError, match=r"other is float64 \[3, 4\]; wanted int32 \[3, 4\]"):
        tensor.copy_(tv.from_numpy(grid("float64")))
    with pytest.raises(ValueError, match=r"other is int32 \[4\]"):
        tensor.copy_(tensor[0])


@pytest.mark.parametrize(("number", "name"), list(enumerate(DTYPES)))
def test_dtypes_have_upstreams_numbers(number, name):
    dtype = np.dtype(name.rstrip("_"))
    assert getattr(tv, name) == number
    assert tv.from_numpy(np.zeros(3, dtype)).dtype == number
    for given in (number, dtype):
        made = tv.zeros([2, 0, 3], given)
        assert (made.shape, made.dtype, made.empty()) == ([2, 0, 3], number, True)
    assert tv.empty([2], number).numpy().dtype == tv.get_npdtype_from_tvdtype(number) == dtype
    assert tv.tvdtype_bitsize(number) == 8 * tv.tvdtype_itemsize(number) == 8 * dtype.itemsize


def test_dtypes_and_names_are_those_of_the_real_one():
    real = pytest.importorskip("cumm.tensorview")
    for name in [*DTYPES, "unknown", "bfloat16", "tf32"]:
        assert getattr(tv, name) == getattr(real, name)
    for name in ("zeros", "empty", "full", "from_numpy", "cat_first_axis", "div_up"):
        assert hasattr(real, name)
        assert hasattr(tv, name)
    known = {name for name in dir(tv.Tensor) if not name.startswith("_")}
    assert known - set(dir(real.Tensor)) <= {"around", "cuda"}
    assert {a.name: a.value for a in Activation.__members__.values()} == {
        name: int(value) for name, value in real.gemm.Activation.__members__.items()
    }


def test_tensors_are_made_full():
    assert tv.full([2], 3).numpy().tolist() == [3.0, 3.0]
    assert tv.full([2], 3, tv.int32).numpy().dtype == np.int32
    assert tv.full([2], True, np.bool_).numpy().all()
    assert tv.zeros([3]).numpy().tolist() == [0, 0, 0]
    assert tv.cat_first_axis([tv.from_numpy(grid())] * 2).shape == [6, 4]
    assert tv.Tensor().empty()
    assert tv.Tensor().shape == []
    assert tv.Tensor([2, 3], tv.int64).dtype == tv.int64


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_tensors_and_activations_survive_a_pickle(again):
    tensor = again(tv.from_numpy(grid()))
    assert tensor.numpy().tolist() == grid().tolist()
    assert again(Activation.ReLU) == Activation.ReLU


def test_activations_are_numbers_by_name():
    assert [int(a) for a in Activation.__members__.values()] == [0, 1, 2, 3]
    assert tv.gemm.Activation(3) == cumm.tensorview.gemm.Activation.LeakyReLU
    assert (str(Activation.None_), repr(Activation.ReLU)) == (
        "Activation.None_",
        "<Activation.ReLU: 1>",
    )
    assert Activation.ReLU != 1


@pytest.mark.parametrize(("a", "b"), [(7, 3), (6, 3), (0, 3), (-7, 3), (1, 8)])
def test_div_up_rounds_up(a, b):
    assert tv.div_up(a, b) == np.ceil(a / b)


def test_blocks_are_measured(capsys):
    out: list[float] = []
    with tv.measure_and_print("part", out=out) as measured:
        assert measured.duration == -1
    assert capsys.readouterr().out.startswith("part duration: ")
    assert out == [measured.duration]
    assert out[0] >= 0
    with tv.measure_and_print("part", out=out, enable=False) as measured:
        pass
    assert (len(out), measured.duration, capsys.readouterr().out) == (1, -1, "")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tv.from_numpy([1, 2]), TypeError, "arr is a list"),
        (lambda: tv.from_numpy(np.zeros(2, complex)), TypeError, "complex128"),
        (lambda: tv.from_numpy(np.array(["a"])), TypeError, "no tensor has"),
        (lambda: tv.zeros([2], tv.float32, 0), ValueError, "device is 0; wanted -1"),
        (lambda: tv.zeros([2], tv.bfloat16), ValueError, "dtype is number 12"),
        (lambda: tv.zeros([2], np.complex64), ValueError, "dtype is complex64"),
        (lambda: tv.full([2], 2.7, tv.int32), TypeError, "val is 2.7; wanted a whole number"),
        (lambda: tv.from_numpy(grid())[5], IndexError, "out of bounds"),
    ],
)
def test_what_is_no_tensor_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
