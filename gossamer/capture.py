"""A network captured once and replayed: on a GPU, one launch for all of its kernels.

Nothing in a CUDA graph may wait for the device, so rows are of a fixed number; see
`SparseTensor.padded`.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gossamer.coords import Coords, Steps
from gossamer.coords.fill import counts_of
from gossamer.errors import CapacityError
from gossamer.rulebook import to_be_kept
from gossamer.tensor import SparseTensor

FIXED = ("device", "dtype", "channels", "ndim", "stride", "spatial_shape", "batch_size")
WARM_UPS = 3  # as torch advises: libraries allocate and compile in the first runs


class Captured:
    """A network in eval mode, ready to be replayed; made by `capture`.

    Weights are read where they lie, so changing them in place changes what a replay computes.
    """

    def __init__(self, model: nn.Module, example: SparseTensor, capacity: int, growth: float):
        if model.training:
            raise ValueError("model is in training mode; wanted eval mode; call model.eval() first")
        if example.dtype == torch.float64 and example.device.type == "cuda":
            raise ValueError(
                "example has float64 features, whose convolution is plain PyTorch and makes the "
                "host wait; wanted float32, float16 or bfloat16; use .to()"
            )
        self._model = model
        self._wanted = {name: getattr(example, name) for name in FIXED}
        self._box = example.sites.box
        with to_be_kept():
            self._input = example.detach().padded(capacity, growth)
        self._graph: torch.cuda.CUDAGraph | None = None
        if example.device.type == "cuda":
            self._capture(example.device)

    @property
    def capacity(self) -> int:
        """How many sites an input may have."""
        return len(self._input)

    def __call__(self, x: SparseTensor) -> Any:
        """What the model makes of `x`: sparse tensors trimmed, all tensors free to keep.

        Sparse results on the same sites share them, and do not know what they were made from.

        Raises:
            CapacityError: `x`, or a level of the network, has more sites than rows.
            ValueError: `x` is not like the tensor that was captured.
        """
        self._check(x)
        self._fill(x)
        if self._graph is None:
            self._run()
        else:
            self._graph.replay()
        counts = counts_of(self._first)
        return pytree.tree_map(_Keeper(counts), self._output, is_leaf=_is_sparse)

    def _check(self, x: SparseTensor) -> None:
        x.sites.counted("a captured network pads its input itself, and can't take a padded one")
        for name, wanted in self._wanted.items():
            if getattr(x, name) != wanted:
                raise ValueError(
                    f"{name} of x is {getattr(x, name)}; wanted {wanted}, as it was captured; "
                    "capture again"
                )
        if self._box.holding(x.sites.box) != self._box:
            raise ValueError(
                f"x lies in {x.sites.box}; wanted it inside of {self._box}, as it was captured; "
                "give both tensors one spatial_shape"
            )
        if len(x) > self.capacity:
            raise CapacityError(
                f"x has {len(x)} sites; wanted at most {self.capacity}; capture again with a "
                "larger capacity"
            )

    @torch.no_grad()
    def _fill(self, x: SparseTensor) -> None:
        count = len(x)
        fill = self._input.sites.fill
        assert fill is not None  # padded
        self._input.coords[:count].copy_(x.coords)
        self._input.coords[count:].zero_()
        self._input.features[:count].copy_(x.features)
        fill.found.fill_(count)
        fill.count.fill_(count)

    @torch.no_grad()
    def _run(self) -> None:
        x = _anew(self._input)
        kind = x.device.type
        options = {"dtype": torch.get_autocast_dtype(kind), "cache_enabled": False}
        # What autocast caches is freed when its block ends, and a graph would still read it.
        with torch.autocast(kind, enabled=torch.is_autocast_enabled(kind), **options):
            self._output, self._first = self._model(x), x.sites

    def _capture(self, device: torch.device) -> None:
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    self._run()
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # On this stream, or torch takes one of the device on which it first captured.
            with torch.cuda.graph(self._graph, stream=stream):
                self._run()


def capture(
    model: nn.Module, example: SparseTensor, capacity: int | None = None, growth: float = 1.0
) -> Captured:
    """`model` as one CUDA graph, for inputs like `example`.

    The result is called like the model, with a SparseTensor, and gives the same back. It asks the
    device once, at the end, how many sites there are. In Triton's interpreter it runs without a
    graph.

    Args:
        model: from a SparseTensor to tensors, sparse or not, in any nesting; in eval mode.
        example: a tensor of the kind that will be given; its device, dtype, channels, grid and
            batch size are fixed from then on.
        capacity: sites an input may have. Default: a fifth more than `example` has.
        growth: rows that a strided layer's result gets for each row of its input. On scans a
            coarser level has fewer sites than the finer one, but not on scattered points.

    Raises:
        CapacityError: `example` has more sites than `capacity`.
        ValueError: the model is in training mode, or the tensor is not on a GPU.
    """
    if capacity is None:
        capacity = max(1, len(example) + len(example) // 5)
    return Captured(model, example, capacity, growth)


def _anew(x: SparseTensor) -> SparseTensor:
    """The same memory, with nothing built on its sites."""
    sites = x.sites
    fresh = Coords(
        sites.rows,
        sites.box,
        sites.spatial_shape,
        sites.batch_size,
        sites.stride,
        fill=sites.fill,
        steps=Steps(),
    )
    return SparseTensor(x.features, fresh)


def _is_sparse(x: Any) -> bool:
    return isinstance(x, SparseTensor)


class _Keeper:
    """Makes of a result what the next replay leaves alone, with sites that results share."""

    def __init__(self, counts: dict[int, int]):
        self._counts = counts
        self._sites: dict[int, Coords] = {}

    def __call__(self, x: Any) -> Any:
        if not isinstance(x, SparseTensor):
            return x.clone() if isinstance(x, Tensor) else x
        fill = x.sites.fill
        if fill is None or id(fill) not in self._counts:
            return SparseTensor(x.features.clone(), x.sites)
        count, place = self._counts[id(fill)], id(x.sites.rows)
        if place not in self._sites:
            rows = x.coords[:count].clone()
            self._sites[place] = replace(x.sites, rows=rows, origin=None, fill=None, steps=Steps())
        return SparseTensor(x.features[:count].clone(), self._sites[place])
