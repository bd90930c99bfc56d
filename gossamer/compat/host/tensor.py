"""`Tensor`: a NumPy array under the names that upstream's arrays have."""

from collections.abc import Sequence

import numpy as np

from gossamer.compat.host.dtypes import NUMBERS, get_npdtype_from_tvdtype, number_of


class Tensor:
    """An array in host memory, whose parts and views share that memory.

    Unlike upstream's, it pickles, and what is not contiguous can be cloned and viewed as well.
    """

    def __init__(
        self,
        shape: Sequence[int] = (),
        dtype: int = NUMBERS["float32"],
        device: int = -1,
        pinned: bool = False,
        managed: bool = False,
    ):
        if device != -1:
            raise ValueError(f"device is {device}; wanted -1, host memory; on a GPU, use torch's")
        self._array = np.empty(tuple(shape), get_npdtype_from_tvdtype(dtype))

    @classmethod
    def around(cls, array: np.ndarray) -> "Tensor":
        """A tensor that shares the memory of `array`."""
        out = cls.__new__(cls)
        out._array = array
        return out

    def numpy(self) -> np.ndarray:
        """A copy, as an array."""
        return np.array(self._array)

    def numpy_view(self) -> np.ndarray:
        """An array that shares this tensor's memory."""
        return self._array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self._array, dtype=dtype) if copy else np.asarray(self._array, dtype)

    def __getitem__(self, index) -> "Tensor":
        return Tensor.around(np.asarray(self._array[index]))

    @property
    def shape(self) -> list[int]:
        """Its sizes."""
        return list(self._array.shape)

    @property
    def stride(self) -> list[int]:
        """Elements from one index to the next, an axis each."""
        return [step // self._array.itemsize for step in self._array.strides]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def dtype(self) -> int:
        """The number of its dtype."""
        return number_of(self._array.dtype)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return self._array.itemsize

    @property
    def device(self) -> int:
        """-1: host memory."""
        return -1

    @property
    def T(self) -> "Tensor":
        """Its axes in reverse."""
        return Tensor.around(self._array.T)

    def dim(self, index: int) -> int:
        """The size of one axis."""
        return self._array.shape[index]

    def bytesize(self) -> int:
        """The bytes of all elements."""
        return self._array.nbytes

    def empty(self) -> bool:
        """Whether it has no axis or no element."""
        return not (self.ndim and self.size)

    def is_contiguous(self) -> bool:
        """Whether its elements lie side by side, last axis fastest."""
        return self._array.flags.c_contiguous

    def clone(self, pinned: bool = False, use_cpu_copy: bool = False) -> "Tensor":
        """A copy, contiguous."""
        return Tensor.around(np.array(self._array, order="C"))

    def cpu(self) -> "Tensor":
        """A copy in host memory."""
        return self.clone()

    # A voxelizer of upstream's that runs on a GPU is given points by `.cuda()`.
    cuda = cpu

    def view(self, shape: Sequence[int]) -> "Tensor":
        """The same elements in another shape; one size may be -1."""
        return Tensor.around(self._array.reshape(tuple(shape)))

    def type_view(self, dtype: int, shape: Sequence[int] | None = None) -> "Tensor":
        """The same bytes as another dtype."""
        array = self._array.view(get_npdtype_from_tvdtype(dtype))
        return Tensor.around(array if shape is None else array.reshape(tuple(shape)))

    def squeeze(self, axis: int | None = None) -> "Tensor":
        """Without axes of size 1, or without the one named if its size is 1."""
        kept = axis is not None and self.dim(axis) != 1
        return Tensor.around(self._array if kept else self._array.squeeze(axis))

    def unsqueeze(self, axis: int) -> "Tensor":
        """With a new axis of size 1."""
        return Tensor.around(np.expand_dims(self._array, axis))

    def transpose(self, first: int, second: int) -> "Tensor":
        """With two axes exchanged."""
        return Tensor.around(self._array.swapaxes(first, second))

    def select(self, axis: int, index: int) -> "Tensor":
        """What stands at one index of an axis."""
        return Tensor.around(np.asarray(self._array[(slice(None),) * axis + (index,)]))

    def slice_first_axis(self, start: int, stop: int) -> "Tensor":
        """Rows from `start` to before `stop`."""
        return self[start:stop]

    def slice_axis(
        self, dim: int, start: int | None, stop: int | None, step: int | None = None
    ) -> "Tensor":
        """A slice of one axis."""
        return Tensor.around(self._array[(slice(None),) * dim + (slice(start, stop, step),)])

    def zero_(self) -> "Tensor":
        """Itself, after zeros were written to it."""
        self._array[...] = 0
        return self

    def fill_int_(self, val: int) -> "Tensor":
        """Itself, after `val` was written to every element."""
        self._array[...] = val
        return self

    def copy_(self, other: "Tensor") -> None:
        """Writes the elements of a tensor of the same shape and dtype to this one.

        Raises:
            ValueError: shape or dtype differ.
        """
        if (self.shape, self.dtype) != (other.shape, other.dtype):
            raise ValueError(
                f"other is {other._array.dtype} {other.shape}; "
                f"wanted {self._array.dtype} {self.shape}"
            )
        self._array[...] = other._array
