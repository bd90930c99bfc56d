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
from gossamer.errors import CapacityError
from gossamer.tensor import SparseTensor

WARM_UPS = 3  # as torch advises: libraries allocate and compile in the first runs


class Captured:
    """A network in eval mode, ready to be replayed; made by `capture`.

    Weights are read where they lie, so changing them in place changes what a replay computes, but
    for a batch norm that was folded into the layer before it.
    """

    def __init__(self, model: nn.Module, example: SparseTensor, capacity: int, growth: float):
        if model.training:
            raise ValueError("model is in training mode; wanted eval mode; call model.eval() first")
        self._model = model
        self._like = example.detach()
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

        Raises:
            CapacityError: `x`, or a level of the network, has more sites than rows.
            ValueError: `x` is not like the tensor that was captured.
        """
        self._check(x)
        self._fill(x)
        if self._graph is None:
            self._output = self._run()
        else:
            self._graph.replay()
        return pytree.tree_map(_kept, self._output, is_leaf=_is_sparse)

    def _check(self, x: SparseTensor) -> None:
        for name in (
            "device",
            "dtype",
            "channels",
            "ndim",
            "stride",
            "spatial_shape",
            "batch_size",
        ):
            came, wanted = getattr(x, name), getattr(self._like, name)
            if came != wanted:
                raise ValueError(
                    f"{name} of x is {came}; wanted {wanted}, as it was captured; capture again"
                )
        box = self._like.sites.box
        if box.holding(x.sites.box) != box:
            raise ValueError(
                f"x lies in {x.sites.box}; wanted it inside of {box}, as it was captured; give "
                "both tensors one spatial_shape"
            )
        if len(x) > self.capacity:
            raise CapacityError(
                f"x has {len(x)} sites; wanted at most {self.capacity}; capture again with a "
                "larger capacity"
            )

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
    def _run(self) -> Any:
        return self._model(_anew(self._input))

    def _capture(self, device: torch.device) -> None:
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._run()
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = self._run()


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


def _kept(x: Any) -> Any:
    """A result that the next replay leaves alone."""
    if isinstance(x, SparseTensor):
        trimmed = x.trimmed()
        return SparseTensor(
            trimmed.features.clone(), replace(trimmed.sites, rows=trimmed.coords.clone())
        )
    return x.clone() if isinstance(x, Tensor) else x
