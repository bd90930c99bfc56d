"""How a compiled kernel is found again: with a driver and kernels that only say what came."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("triton")

from gossamer.ops import launch as module
from gossamer.ops.launch import launch, unusable


class OnGPU(torch.Tensor):
    """A tensor that says it is on a GPU, at an address of our choice."""

    index, address = 0, 256

    def get_device(self) -> int:
        return self.index

    def data_ptr(self) -> int:
        return self.address


def tensor(dtype=torch.float32, index=0, address=256):
    made = torch.zeros(4, dtype=dtype).as_subclass(OnGPU)
    made.index, made.address = index, address
    return made


class Kernel:
    """Stands for a jitted function x, y, n, m, A, B of which n is not specialised on."""

    def __init__(self):
        names = {"x": False, "y": False, "n": True, "m": False, "A": False, "B": False}
        self.params = [SimpleNamespace(name=k, do_not_specialize=v) for k, v in names.items()]
        self.compiled, self.started, self.devices = [], [], []

    def __getitem__(self, grid):
        def bind(*arguments, **options):
            self.compiled.append((grid, arguments, options))
            self.devices.append(module.driver.active.get_current_device())
            return SimpleNamespace(
                run=lambda *call: self.started.append(call),
                function=f"function {len(self.compiled)}",
                packed_metadata="metadata",
            )

        return bind


@pytest.fixture
def gpu(monkeypatch):
    """Two GPUs, of which device 0 is the current one and every stream is 70 + its number."""
    state = SimpleNamespace(current=0)

    @contextmanager
    def device(index):
        before, state.current = state.current, index
        yield
        state.current = before

    active = SimpleNamespace(
        get_current_device=lambda: state.current, get_current_stream=lambda index: 70 + index
    )
    monkeypatch.setattr(module, "driver", SimpleNamespace(active=active))
    monkeypatch.setattr(module, "JITFunction", Kernel)
    monkeypatch.setattr(module, "_compiled", {})
    monkeypatch.setattr(torch.cuda, "device", device)
    return state


def start(kernel, x=None, y=None, n=100, m=48, grid=(5,), warps=4, stages=2, **constants):
    x, y = (tensor() if each is None else each for each in (x, y))
    launch(
        kernel, grid, (x, y, n, m), warps=warps, stages=stages, **{"A": 1, "B": "b", **constants}
    )


@pytest.mark.usefixtures("gpu")
def test_the_second_call_goes_to_the_compiled_kernel():
    kernel = Kernel()
    start(kernel, n=100)
    start(kernel, n=7, grid=(3, 2), x=tensor(address=4096))
    assert len(kernel.compiled) == 1
    grid, _, options = kernel.compiled[0]
    assert grid == (5,) and options == {"num_warps": 4, "num_stages": 2, "A": 1, "B": "b"}
    hooks = (None, None, None)
    arguments = (4096, 256, 7, 48, None, None)
    expected = (3, 2, 1, 70, "function 1", "metadata", *hooks, *arguments)
    assert kernel.started == [expected]


DIFFERENT = {
    "dtype": {"x": tensor(torch.float16)},
    "dtype of another": {"y": tensor(torch.float16)},
    "alignment": {"x": tensor(address=260)},
    "alignment of another": {"y": tensor(address=260)},
    "alignment of both": {"x": tensor(address=260), "y": tensor(address=264)},
    "width": {"n": 2**31},
    "unsigned": {"n": 2**63},
    "a one": {"m": 1},
    "no multiple of 16": {"m": 47},
    "width of another": {"m": 2**31},
    "float": {"n": 1.0},
    "bool": {"n": True},
    "constant": {"A": 2},
    "type of a constant": {"A": True},
    "another type of a constant": {"A": 1.0},
    "word": {"B": "c"},
    "warps": {"warps": 8},
    "stages": {"stages": 3},
    "device": {"x": tensor(index=1), "y": tensor(index=1)},
}
SAME = {
    "value": {"n": 1},
    "another value": {"n": 16},
    "multiple of 16": {"m": 32},
    "address": {"x": tensor(address=512)},
    "grid": {"grid": (7, 7, 7)},
    "negative": {"n": -(2**31)},
}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", DIFFERENT)
def test_what_the_machine_code_depends_on_is_compiled_anew(name):
    kernel = Kernel()
    start(kernel)
    start(kernel, **DIFFERENT[name])
    assert len(kernel.compiled) == 2 and not kernel.started
    start(kernel)
    start(kernel, **DIFFERENT[name])
    assert [call[4] for call in kernel.started] == ["function 1", "function 2"]


@pytest.mark.usefixtures("gpu")
def test_all_those_differ_from_one_another():
    kernel = Kernel()
    for how in DIFFERENT.values():
        start(kernel, **how)
    assert len(kernel.compiled) == len(DIFFERENT)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", SAME)
def test_what_it_does_not_depend_on_is_not(name):
    kernel = Kernel()
    start(kernel)
    start(kernel, **SAME[name])
    assert len(kernel.compiled) == 1 and len(kernel.started) == 1


@pytest.mark.usefixtures("gpu")
def test_constants_are_told_apart_by_name_in_any_order():
    kernel = Kernel()
    x = tensor()
    launch(kernel, (1,), (x, x, 1, 1), A=1, B=2)
    launch(kernel, (1,), (x, x, 1, 1), B=1, A=2)
    assert len(kernel.compiled) == 2


@pytest.mark.usefixtures("gpu")
def test_two_kernels_are_two():
    first, second = Kernel(), Kernel()
    start(first)
    start(second)
    assert len(first.compiled) == len(second.compiled) == 1


def test_the_device_of_the_tensors_decides(gpu):
    kernel, there = Kernel(), {"x": tensor(index=1), "y": tensor(index=1)}
    start(kernel, **there)
    start(kernel, **there)
    assert kernel.devices == [1] and gpu.current == 0
    assert [call[3] for call in kernel.started] == [71]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    "places", [(0, 1), (1, 0), (0, -1), (-1, 0), (-1, -1)], ids=lambda p: f"{p[0]},{p[1]}"
)
def test_tensors_that_are_not_on_one_gpu_are_refused(places):
    kernel = Kernel()
    x, y = (tensor(index=index) for index in places)
    with pytest.raises(ValueError, match="wanted all on one GPU"):
        start(kernel, x=x, y=y)
    assert not kernel.compiled


@pytest.mark.usefixtures("gpu")
def test_an_empty_grid_starts_nothing():
    kernel = Kernel()
    start(kernel, grid=(3, 0))
    assert not kernel.compiled


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("version", ["3.8.0", "4.0.1"])
def test_a_triton_that_was_not_read_starts_kernels_itself(version, monkeypatch):
    monkeypatch.setattr(module.triton, "__version__", version)
    kernel = Kernel()
    start(kernel)
    start(kernel)
    assert len(kernel.compiled) == 2 and not kernel.started


@pytest.mark.usefixtures("gpu")
def test_a_profiler_that_listens_hears_of_every_start(monkeypatch):
    kernel = Kernel()
    start(kernel)
    hooked = SimpleNamespace(launch_enter_hook=SimpleNamespace(calls=[print]))
    monkeypatch.setattr(module, "_knobs", lambda: hooked)
    start(kernel)
    assert len(kernel.compiled) == 2
    hooked.launch_enter_hook.calls = []
    start(kernel)
    assert len(kernel.compiled) == 2 and len(kernel.started) == 1


@pytest.fixture
def fresh():
    unusable.cache_clear()
    yield
    unusable.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_an_old_triton_or_gpu_or_a_cpu_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(module, "interpreted", lambda: False)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda index: (7, 5) if index in (None, 0) else (9, 0)
    )
    assert "TRITON_INTERPRET=1" in unusable("cpu")
    assert "this is sm_75" in unusable("cuda")
    assert "this is sm_75" in unusable("cuda", 0)
    assert unusable("cuda", 1) == ""  # every device for itself
    unusable.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (8, 0))
    assert unusable("cuda") == ""
    unusable.cache_clear()
    monkeypatch.setattr(module.triton, "__version__", "3.2.0+git1")
    assert unusable("cuda") == "needs Triton 3.4 or newer, this is 3.2.0+git1"


@pytest.mark.usefixtures("fresh")
def test_the_interpreter_runs_on_a_cpu(monkeypatch):
    monkeypatch.setattr(module, "interpreted", lambda: True)
    assert unusable("cpu") == ""


def test_a_grid_that_no_gpu_takes_is_an_error_before_anything_starts():
    with pytest.raises(ValueError, match=r"grid of \(1, 65536\) programs; a GPU takes 65535"):
        launch(Kernel(), (1, 65536), [])
