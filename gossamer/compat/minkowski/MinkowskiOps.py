"""Linear layers, tensors put together, and dense tensors made sparse and back."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase
from gossamer.compat.minkowski.MinkowskiSparseTensor import SparseTensor
from gossamer.compat.minkowski.MinkowskiTensor import COORDINATE_KEY_DIFFERENT_ERROR
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField
from gossamer.compat.minkowski.rowwise import located, on_rows
from gossamer.compat.rows.sites import Rows
from gossamer.compat.rows.values import Values

AnyTensor = TypeVar("AnyTensor", SparseTensor, TensorField)


class MinkowskiLinear(nn.Module):
    """torch.nn.Linear, kept as `linear`, of every row.

    Args:
        in_features, out_features, bias: as torch's layer takes them.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)

    @located
    def forward(self, input: AnyTensor) -> AnyTensor:
        """The same sites or points, with `out_features` channels."""
        return on_rows(input, self.linear, self.linear.in_features)

    def __repr__(self) -> str:
        linear = self.linear
        return (
            f"{type(self).__name__}(in_features={linear.in_features}, "
            f"out_features={linear.out_features}, bias={linear.bias is not None})"
        )


def cat(*sparse_tensors: Any) -> Any:
    """The channels of several tensors on the same sites, side by side.

    Args:
        sparse_tensors: two or more SparseTensors or TensorFields, or one list of them. Sites may
            have different keys, and rows another order.

    Returns:
        A tensor on the rows of the first.

    Raises:
        AssertionError: there are fewer than two, or sites, devices or classes differ.
    """
    return _together(sparse_tensors, lambda features: torch.cat(features, dim=-1))


def _sum(*sparse_tensors: Any) -> Any:
    """The sum of several tensors on the same sites; arguments and errors as for `cat`."""
    return _together(sparse_tensors, _added)


def mean(*sparse_tensors: Any) -> Any:
    """The mean of several tensors on the same sites; arguments and errors as for `cat`."""
    return _together(sparse_tensors, _averaged)


def var(*sparse_tensors: Any) -> Any:
    """The mean square distance from the mean, of several tensors; arguments as for `cat`."""

    def spread(features: list[Tensor]) -> Tensor:
        middle = _averaged(features)
        return _averaged([(x - middle).square() for x in features])

    return _together(sparse_tensors, spread)


def _added(features: list[Tensor]) -> Tensor:
    total = features[0]
    for more in features[1:]:
        total = total + more
    return total


def _averaged(features: list[Tensor]) -> Tensor:
    return _added(features) / len(features)


def _together(tensors: tuple, operator: Callable[[list[Tensor]], Tensor]) -> Any:
    """A tensor on the rows of the first with what `operator` makes of all features."""
    if len(tensors) == 1:
        assert isinstance(tensors[0], (tuple, list)), (
            f"got one {type(tensors[0]).__name__}; wanted two tensors or more, or a list of them"
        )
        tensors = tuple(tensors[0])
    assert len(tensors) > 1, f"got {len(tensors)} tensors; wanted two or more"
    first = tensors[0]
    if not isinstance(first, (SparseTensor, TensorField)):
        raise ValueError(
            f"got {type(first).__name__}; wanted SparseTensors, or TensorFields, and nothing else"
        )
    pairs = [_beside(first, other) for other in tensors[1:]]
    rows = next((rows for _, rows in pairs if rows is not None), None)
    if rows is None:
        return first._with(Values(operator([first.F, *(features for features, _ in pairs)])))
    ours = first._values.onto(rows, "first")
    others = (x if its is rows else rows.onto(x, "first") for x, its in pairs)
    return first._with(Values(operator([ours, *others]), rows))


def _beside(first: SparseTensor | TensorField, other: Any) -> tuple[Tensor, Rows | None]:
    """The features of `other` on the rows of `first`, or on the sites under these."""
    kind = SparseTensor if isinstance(first, SparseTensor) else TensorField
    assert isinstance(other, kind), (
        f"got {type(first).__name__} and {type(other).__name__}; wanted one class"
    )
    assert first.device == other.device, (
        f"one tensor is on {first.device} and one on {other.device}; wanted the same device"
    )
    both = first._beside(other)
    assert both is not None, (
        f"{first.coordinate_key} and {other.coordinate_key}: {COORDINATE_KEY_DIFFERENT_ERROR}"
    )
    return both[1], both[2]


def dense_coordinates(shape: Sequence[int]) -> Tensor:
    """[B * D1 * ... * DN, 1+N] int32: the coordinates of every cell, the last axis fastest.

    Args:
        shape: [B, C, D1, ..., DN].
    """
    _check_axes(len(shape))
    sizes = [int(size) for size in (shape[0], *shape[2:])]
    return torch.cartesian_prod(*(torch.arange(n, dtype=torch.int32) for n in sizes))


def to_sparse(
    x: Tensor,
    format: str | None = None,
    coordinates: Tensor | None = None,
    device: torch.device | str | None = None,
) -> SparseTensor:
    """The cells of a dense tensor where some channel is not zero.

    Args:
        x: a tensor with a batch axis, a channel axis and one or more others.
        format: a letter an axis: "B" for the batch, which comes first, "C" for the channels, "X"
            for others. Default: "BCX...X".
        coordinates: [N, 1+D] int, the cells to take instead, zero or not.
        device: of the result. Default: that of `x`.

    Raises:
        AssertionError: `x` is no tensor of three axes or more, or `format` does not fit it.
        ValueError: `coordinates` reach out of `x`.
    """
    assert isinstance(x, Tensor), f"x is {type(x).__name__}; wanted a tensor"
    _check_axes(x.ndim)
    format = "BC" + "X" * (x.ndim - 2) if format is None else format
    others = sorted(format[1:])
    assert format[:1] == "B" and others == ["C", *"X" * (x.ndim - 2)], (
        f"format is {format!r} and x has {x.ndim} axes; wanted a letter an axis, first 'B', once "
        "'C' and else 'X', as in 'BXXC'"
    )
    cells = x.movedim(format.index("C"), -1)
    if coordinates is None:
        coordinates = (cells.detach() != 0).any(-1).nonzero().int()
    return _taken(cells, coordinates, device)


def to_sparse_all(dense_tensor: Tensor, coordinates: Tensor | None = None) -> SparseTensor:
    """All cells of a dense tensor, zero or not.

    Args:
        dense_tensor: [B, C, D1, ..., DN].
        coordinates: [N, 1+D] int, the cells to take; what `dense_coordinates` returned, or fewer.
            Default: all.

    Raises:
        ValueError: `coordinates` reach out of the tensor.
    """
    _check_axes(dense_tensor.ndim)
    if coordinates is None:
        coordinates = dense_coordinates(dense_tensor.shape)
    return _taken(dense_tensor.movedim(1, -1), coordinates, None)


def _check_axes(count: int) -> None:
    assert count > 2, f"got {count} axes; wanted the batch, the channels and one or more others"


def _taken(cells: Tensor, coordinates: Tensor, device: Any) -> SparseTensor:
    """The features [N, C] that `cells` [B, D1, ..., DN, C] has at `coordinates`."""
    coordinates = coordinates.to(cells.device)
    size = coordinates.new_tensor(cells.shape[:-1])
    if coordinates.shape[1] != len(size):
        raise ValueError(
            f"coordinates is {list(coordinates.shape)}; wanted {len(size)} columns, the batch and "
            f"{len(size) - 1} axes"
        )
    if bool(((coordinates < 0) | (coordinates >= size)).any()):
        raise ValueError(
            f"coordinates reach from {coordinates.amin(0).tolist()} to "
            f"{coordinates.amax(0).tolist()}; wanted cells of a tensor of {size.tolist()}"
        )
    features = cells[tuple(coordinates.long().T)]
    return SparseTensor(features, coordinates, device=device)


class MinkowskiToSparseTensor(MinkowskiModuleBase):
    """Makes a dense tensor [B, C, D1, ..., DN], or a TensorField, a SparseTensor.

    Args:
        remove_zeros: whether to leave out cells where all channels are zero.
        coordinates: [N, 1+D] int, the cells to take, whatever is in them. Default: as
            `remove_zeros` says.
    """

    def __init__(self, remove_zeros: bool = True, coordinates: Tensor | None = None):
        super().__init__()
        self.remove_zeros = remove_zeros
        self.coordinates = coordinates

    @located
    def forward(self, input: TensorField | Tensor) -> SparseTensor:
        """A SparseTensor of the same numbers.

        Raises:
            ValueError: the input is something else, or `coordinates` reach out of it.
        """
        if isinstance(input, TensorField):
            return input.sparse()
        if not isinstance(input, Tensor):
            raise ValueError(f"input is {type(input).__name__}; wanted a tensor or a TensorField")
        if self.remove_zeros and self.coordinates is None:
            return to_sparse(input)
        return to_sparse_all(input, self.coordinates)

    def __repr__(self) -> str:
        return type(self).__name__ + "()"


class MinkowskiToDenseTensor(MinkowskiModuleBase):
    """Makes a SparseTensor a dense one, zero where there is no site.

    Args:
        shape: [B, C, D1, ..., DN], of the result; C is not looked at. Default: what is needed.
    """

    def __init__(self, shape: torch.Size | None = None):
        super().__init__()
        self.shape = shape

    def forward(self, input: SparseTensor) -> Tensor:
        """[B, C, D1, ..., DN]."""
        return input.dense(shape=self.shape)[0]

    def __repr__(self) -> str:
        return type(self).__name__ + "()"


class MinkowskiToFeature(MinkowskiModuleBase):
    """The features of a tensor."""

    def forward(self, x: SparseTensor | TensorField) -> Tensor:
        """[N, C].

        Raises:
            AssertionError: the input is something else.
        """
        assert isinstance(x, (SparseTensor, TensorField)), (
            f"input is {type(x).__name__}; wanted a SparseTensor or a TensorField"
        )
        return x.F


class MinkowskiStackCat(nn.Sequential):
    """`cat` of what each of several layers makes of one input."""

    def forward(self, x: Any) -> Any:
        """A tensor on the rows that the first layer returns."""
        return cat([module(x) for module in self])


class MinkowskiStackSum(nn.Sequential):
    """`sum` of what each of several layers makes of one input."""

    def forward(self, x: Any) -> Any:
        """A tensor on the rows that the first layer returns."""
        return _sum([module(x) for module in self])


class MinkowskiStackMean(nn.Sequential):
    """`mean` of what each of several layers makes of one input."""

    def forward(self, x: Any) -> Any:
        """A tensor on the rows that the first layer returns."""
        return mean([module(x) for module in self])


class MinkowskiStackVar(nn.Sequential):
    """`var` of what each of several layers makes of one input."""

    def forward(self, x: Any) -> Any:
        """A tensor on the rows that the first layer returns."""
        return var([module(x) for module in self])
