"""What SparseTensor and TensorField share: features on rows of a coordinate manager.

A layer that treats rows alike keeps the order in which features lie:
`input._with(mapped(input._values, module))`, with `mapped` from `gossamer.compat.layers.passing`;
`_values` are the features in whatever order, `_with` gives a tensor of the same class on the same
rows. Whoever reads `F` gets the caller's order.
"""

import copy
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
from torch import Tensor as Dense

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.rows.sites import Rows
from gossamer.compat.rows.values import Values


class SparseTensorOperationMode(Enum):
    """Whether a tensor without a coordinate manager gets one of its own or the global one."""

    SEPARATE_COORDINATE_MANAGER = 0
    SHARE_COORDINATE_MANAGER = 1


class SparseTensorQuantizationMode(Enum):
    """What one coordinate makes of several rows; RANDOM_SUBSAMPLE takes the first."""

    RANDOM_SUBSAMPLE = 0
    UNWEIGHTED_AVERAGE = 1
    UNWEIGHTED_SUM = 2
    NO_QUANTIZATION = 3
    MAX_POOL = 4
    SPLAT_LINEAR_INTERPOLATION = 5


COORDINATE_MANAGER_DIFFERENT_ERROR = (
    "the tensors lie on different sites of different coordinate managers; make the second with "
    "coordinate_manager=first.coordinate_manager, or let all tensors share one by "
    "set_sparse_tensor_operation_mode(SparseTensorOperationMode.SHARE_COORDINATE_MANAGER)"
)
COORDINATE_KEY_DIFFERENT_ERROR = (
    "the tensors lie on different sites; add them with + or MinkowskiUnion, which take the union "
    "of sites, or bring one onto the other's sites by layer(x, other.coordinate_map_key)"
)

# The mode and the shared manager are settings of a process upstream, and programs count on it.
_SHARED: dict[str, Any] = {
    "mode": SparseTensorOperationMode.SEPARATE_COORDINATE_MANAGER,
    "manager": None,
}


def set_sparse_tensor_operation_mode(operation_mode: SparseTensorOperationMode) -> None:
    """From now on, make tensors with managers of their own, or all with one.

    A shared manager keeps all it has seen until `clear_global_coordinate_manager`.

    Raises:
        AssertionError: it is no SparseTensorOperationMode.
    """
    assert isinstance(operation_mode, SparseTensorOperationMode), (
        f"operation_mode is {operation_mode!r}; wanted a SparseTensorOperationMode"
    )
    _SHARED["mode"] = operation_mode


def sparse_tensor_operation_mode() -> SparseTensorOperationMode:
    """The mode in which tensors are made."""
    return _SHARED["mode"]


def global_coordinate_manager():
    """The shared manager, or None."""
    return _SHARED["manager"]


def set_global_coordinate_manager(coordinate_manager) -> None:
    """Let this manager be the shared one."""
    _SHARED["manager"] = coordinate_manager


def clear_global_coordinate_manager() -> None:
    """Forget the shared manager; the next tensor in shared mode makes a new one."""
    set_global_coordinate_manager(None)


class Tensor:
    """Features on the rows of a map of coordinates; the classes below say which."""

    _manager: Any
    _D: int
    _values: Values
    _said: Dense | None = None
    _batch_rows: list[Dense] | None = None
    coordinate_map_key: CoordinateMapKey

    def _with(self, values: Values) -> Any:
        """The same class on the same rows with other features; how to use it: see the module."""
        new = copy.copy(self)
        new._values = values
        return new

    @property
    def _F(self) -> Dense:
        return self._values.on_rows

    @_F.setter
    def _F(self, features: Dense) -> None:
        self._values = Values(features)

    @property
    def F(self) -> Dense:
        """[N, C], the features, in the order of `C`."""
        return self._values.on_rows

    features = F

    @property
    def coordinate_manager(self):
        """The manager that knows the coordinates."""
        return self._manager

    @property
    def coordinate_key(self) -> CoordinateMapKey:
        """The key of the coordinates."""
        return self.coordinate_map_key

    @property
    def tensor_stride(self) -> list[int]:
        """D ints: what coordinates are multiples of."""
        return self.coordinate_key.get_tensor_stride()

    def _get_coordinates(self) -> Dense:
        return self._manager.get_coordinates(self.coordinate_map_key)

    @property
    def coordinates(self) -> Dense:
        """[N, 1+D], (batch, axes)."""
        if self._said is None:
            self._said = self._get_coordinates()
        return self._said

    @property
    def C(self) -> Dense:
        """[N, 1+D], (batch, axes)."""
        return self.coordinates

    @property
    def _batchwise_row_indices(self) -> list[Dense]:
        if self._batch_rows is None:
            self._batch_rows = self._rows_by_sample()
        return self._batch_rows

    def _rows_by_sample(self) -> list[Dense]:
        return self._manager.origin_map(self.coordinate_map_key)[1]

    @property
    def _sorted_batchwise_row_indices(self) -> list[Dense]:
        return [rows.sort().values for rows in self._batchwise_row_indices]

    @property
    def decomposition_permutations(self) -> list[Dense]:
        """For every sample up to the last its rows, ascending."""
        return self._batchwise_row_indices

    @property
    def decomposed_coordinates(self) -> list[Dense]:
        """For every sample its coordinates [N, D]."""
        return [self.C[rows, 1:] for rows in self._batchwise_row_indices]

    @property
    def decomposed_features(self) -> list[Dense]:
        """For every sample its features [N, C]."""
        return [self.F[rows] for rows in self._batchwise_row_indices]

    @property
    def decomposed_coordinates_and_features(self) -> tuple[list[Dense], list[Dense]]:
        """For every sample its coordinates, and its features."""
        return self.decomposed_coordinates, self.decomposed_features

    def _rows_at(self, batch_index: int) -> Dense:
        rows = self._batchwise_row_indices
        if not 0 <= batch_index < len(rows):
            raise IndexError(
                f"batch_index is {batch_index}; the coordinates have samples 0 to {len(rows) - 1}"
            )
        return rows[batch_index]

    def coordinates_at(self, batch_index: int) -> Dense:
        """[N, D]: the coordinates of one sample."""
        return self.C[self._rows_at(batch_index), 1:]

    def features_at(self, batch_index: int) -> Dense:
        """[N, C]: the features of one sample."""
        return self.F[self._rows_at(batch_index)]

    def coordinates_and_features_at(self, batch_index: int) -> tuple[Dense, Dense]:
        """Both of one sample."""
        return self.coordinates_at(batch_index), self.features_at(batch_index)

    @property
    def D(self) -> int:
        """How many axes."""
        return self._D

    dimension = D

    @property
    def requires_grad(self) -> bool:
        """Whether the features want a gradient."""
        return self._values.at_hand.requires_grad

    def requires_grad_(self, requires_grad: bool = True):
        """Let the features want a gradient, in place."""
        self.F.requires_grad_(requires_grad)
        return self

    def float(self):
        """Features in float32, in place."""
        return self._mapped(Dense.float)

    def double(self):
        """Features in float64, in place."""
        return self._mapped(Dense.double)

    def half(self):
        """Features in float16, in place."""
        return self._mapped(Dense.half)

    def bfloat16(self):
        """Features in bfloat16, in place."""
        return self._mapped(Dense.bfloat16)

    def detach(self):
        """Features without a past, in place."""
        return self._mapped(Dense.detach)

    def _mapped(self, function: Callable[[Dense], Dense]):
        self._values = Values(function(self._values.at_hand), self._values.rows)
        return self

    def to(self, *args: Any, **kwargs: Any):
        """A tensor on another device or of another dtype, as torch's `to`; its coordinates too."""
        held = self._values
        moved = held.at_hand.to(*args, **kwargs)
        if moved.device == self.device:
            return self if moved is held.at_hand else self._with(Values(moved, held.rows))
        new = self._with(Values(self.F.to(*args, **kwargs)))
        new._manager = self._manager.to(moved.device)
        for name, value in vars(new).items():
            if isinstance(value, Dense):
                setattr(new, name, value.to(moved.device))
        new._batch_rows = None
        return new

    def cpu(self):
        """As `to("cpu")`."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda"):
        """As `to("cuda")`."""
        return self.to(device)

    def __len__(self) -> int:
        return len(self._values.at_hand)

    def size(self, *axis: int):
        """The shape of the features."""
        return self.F.size(*axis)

    @property
    def shape(self) -> torch.Size:
        """(N, C)."""
        return self._values.at_hand.shape

    @property
    def device(self) -> torch.device:
        """Where the features lie."""
        return self._values.at_hand.device

    @property
    def dtype(self) -> torch.dtype:
        """That of the features."""
        return self._values.at_hand.dtype

    def get_device(self) -> int:
        """The number of the device, -1 for the CPU."""
        return self._values.at_hand.get_device()

    def _beside(self, other: "Tensor") -> tuple[Dense, Dense, Rows | None] | None:
        """The features of both in one order, and how rows lie in it; None on different sites."""
        raise NotImplementedError

    def _on_union(self, other: "Tensor", function: Callable[[Dense, Dense], Dense]):
        """What `function` makes of both where their sites differ."""
        raise AssertionError(_different(self, other))

    def _binary_functor(self, other: Any, binary_fn: Callable[[Any, Any], Dense]):
        if isinstance(other, Tensor):
            assert isinstance(other, type(self)) or isinstance(self, type(other)), (
                f"the operands are a {type(self).__name__} and a {type(other).__name__}; wanted "
                "two of a kind; field.sparse() makes a SparseTensor"
            )
            _check_fits(self.shape[1:], other.shape[1:])
            if (both := self._beside(other)) is None:
                return self._on_union(other, binary_fn)
            return self._with(Values(binary_fn(both[0], both[1]), both[2]))
        if not isinstance(other, (Dense, int, float, complex)):
            raise TypeError(
                f"the other operand is a {type(other).__name__}; wanted a {type(self).__name__}, a "
                "tensor or a number"
            )
        if isinstance(other, Dense):
            _check_fits(self.shape, other.shape)
        if isinstance(other, Dense) and other.ndim > 1 and len(other) != 1:
            return self._with(Values(binary_fn(self.F, other)))
        held = self._values
        return self._with(Values(binary_fn(held.at_hand, other), held.rows))

    def _in_place(self, other: Any, binary_fn: Callable[[Any, Any], Dense]):
        if isinstance(other, Tensor) and self._beside(other) is None:
            raise AssertionError(_different(self, other))
        self._values = self._binary_functor(other, binary_fn)._values
        return self

    def __add__(self, other):
        return self._binary_functor(other, torch.add)

    def __sub__(self, other):
        return self._binary_functor(other, torch.sub)

    def __mul__(self, other):
        return self._binary_functor(other, torch.mul)

    def __truediv__(self, other):
        return self._binary_functor(other, torch.div)

    def __radd__(self, other):
        return self._binary_functor(other, torch.add)

    def __rmul__(self, other):
        return self._binary_functor(other, torch.mul)

    def __rsub__(self, other):
        return self._binary_functor(other, lambda mine, its: its - mine)

    def __rtruediv__(self, other):
        return self._binary_functor(other, lambda mine, its: its / mine)

    def __pow__(self, power):
        return self._binary_functor(power, torch.pow)

    def __neg__(self):
        return self._binary_functor(-1, torch.mul)

    def __iadd__(self, other):
        return self._in_place(other, torch.add)

    def __isub__(self, other):
        return self._in_place(other, torch.sub)

    def __imul__(self, other):
        return self._in_place(other, torch.mul)

    def __itruediv__(self, other):
        return self._in_place(other, torch.div)

    def __repr__(self) -> str:
        lines = [
            f"  coordinates={self.C}",
            f"  features={self.F}",
            f"  {self._key_name}={self.coordinate_key}",
            f"  coordinate_manager={self._manager}  spatial dimension={self._D})",
        ]
        return "\n".join([f"{type(self).__name__}(", *lines])

    _key_name = "coordinate_map_key"


def _different(one: Tensor, other: Tensor) -> str:
    return f"{one.coordinate_key} and {other.coordinate_key}: {COORDINATE_KEY_DIFFERENT_ERROR}"


def _check_fits(mine: torch.Size, its: torch.Size) -> None:
    """Refuse an operand of which not every row has its part."""
    try:
        both = torch.broadcast_shapes(mine, its)
    except RuntimeError:
        both = ()
    if len(both) != len(mine) or both[:-1] != mine[:-1]:
        raise ValueError(
            f"the operands have shapes {tuple(mine)} and {tuple(its)}; wanted the same, or 1 for "
            "what all rows or channels share"
        )
