"""`spconv.pytorch.hash`: a table of keys and values. Its keys are kept sorted and not hashed."""

import torch
from torch import Tensor

from gossamer.compat.spconv.pytorch.cppcore import get_current_stream as get_current_stream
from gossamer.compat.spconv.pytorch.cppcore import torch_tensor_to_tv as torch_tensor_to_tv
from gossamer.ops.keys import find, unique

ITEM_SIZES = {torch.int32: 4, torch.int64: 8, torch.float32: 4, torch.float64: 8}
COUNTS = (torch.int32, torch.int64)  # dtypes of values that `assign_arange_` can write


class HashTable:
    """Values by key; on the CPU, where upstream's raises, as well as on a GPU.

    Of a key that comes often the last value stays. Everything comes in the order of the keys.

    Args:
        device: where keys and values are.
        key_dtype: int32 or int64, or a float dtype of their sizes. Floats are keys by their bits,
            so 0.0 and -0.0 are two.
        value_dtype: int32, int64, float32 or float64.
        max_size: how many keys there may be; upstream recommends twice as many as are inserted.
            Needed except on the CPU, where without it a table grows.

    Raises:
        KeyError: a dtype is another one.
        AssertionError: `max_size` is needed and is not positive.
    """

    def __init__(
        self,
        device: torch.device,
        key_dtype: torch.dtype,
        value_dtype: torch.dtype,
        max_size: int = -1,
    ) -> None:
        self.device = torch.device(device)
        self.is_cpu = self.device.type == "cpu"
        for name, dtype in (("key_dtype", key_dtype), ("value_dtype", value_dtype)):
            if dtype not in ITEM_SIZES:
                wanted = ", ".join(map(str, ITEM_SIZES))
                raise KeyError(f"{name} is {dtype}; wanted one of {wanted}")
        if not self.is_cpu and max_size <= 0:
            raise AssertionError(
                f"max_size is {max_size}; a table on {self.device} is made for a number of keys; "
                "give twice as many as will be inserted"
            )
        self.key_dtype, self.value_dtype = key_dtype, value_dtype
        self.key_itemsize, self.value_itemsize = ITEM_SIZES[key_dtype], ITEM_SIZES[value_dtype]
        self.max_size = max_size
        self._keys = torch.empty(0, dtype=key_dtype, device=self.device)
        self._values = torch.empty(0, dtype=value_dtype, device=self.device)
        # What came since those were sorted, and how many keys that is.
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._many = 0

    def insert(self, keys: Tensor, values: Tensor | None = None) -> None:
        """Adds keys with their values, and gives keys that are there their new ones.

        Args:
            keys: [N] of `key_dtype`.
            values: [N] of `value_dtype`. Default: zeros.

        Raises:
            TypeError: a dtype is another one.
            ValueError: a shape or a device is another one.
            AssertionError: there would be more than `max_size` keys; nothing is inserted then.
        """
        if values is None:
            values = torch.zeros(keys.shape, dtype=self.value_dtype, device=keys.device)
        self._words(keys)
        self._check_values(values, keys)
        # Copies, because the caller may write to its tensors before they are looked at.
        self._waiting.append((keys.detach().clone(), values.detach().clone()))
        self._many += len(keys)
        # Sorted when they are as many as the sorted ones: every key takes part in few sorts.
        bound = len(self._keys) + self._many
        if self._many > len(self._keys) or 0 < self.max_size < bound:
            self._merge()

    @property
    def keys_data(self) -> Tensor:
        """[S]: the keys there are, in order."""
        self._merge()
        return self._keys

    @property
    def values_data(self) -> Tensor:
        """[S]: the value of each key."""
        self._merge()
        return self._values

    def _merge(self) -> None:
        """Sorts what is waiting in among the rest."""
        if not self._waiting:
            return
        keys, values = (
            torch.cat(x) for x in zip((self._keys, self._values), *self._waiting, strict=True)
        )
        distinct, row, _ = unique(self._words(keys))
        if 0 < self.max_size < len(distinct):
            # Without the last there were no more than fit.
            self._many -= len(self._waiting.pop()[0])
            raise AssertionError(
                f"{len(distinct)} keys do not fit this table, whose max_size is {self.max_size}; "
                "make it with a larger one"
            )
        # The last writer of a row, found without relying on the order of writes: the largest index.
        index = torch.arange(len(row), device=self.device)
        last = torch.zeros_like(distinct).scatter_reduce_(0, row, index, "amax")
        self._keys, self._values = keys[last], values[last]
        self._waiting, self._many = [], 0

    def query(self, keys: Tensor, values: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The value of each key.

        Args:
            keys: [N] of `key_dtype`.
            values: [N] of `value_dtype`, which is written to and returned; where a key is not in
                the table it keeps what it holds. Default: zeros.

        Returns:
            values: [N].
            is_empty: [N] bool, whether a key is not in the table.

        Raises:
            TypeError: a dtype is another one.
            ValueError: a shape or a device is another one.
        """
        row = find(self._words(self.keys_data), self._words(keys))
        if values is None:
            values = torch.zeros(keys.shape, dtype=self.value_dtype, device=keys.device)
        self._check_values(values, keys)
        there = (row >= 0).nonzero().squeeze(1)
        values.index_copy_(0, there, self.values_data[row[there]])
        return values, row < 0

    def insert_exist_keys(self, keys: Tensor, values: Tensor) -> Tensor:
        """Gives keys that are there their new values, and adds none.

        Args:
            keys: [N] of `key_dtype`.
            values: [N] of `value_dtype`.

        Returns:
            [N] uint8: 1 where a key is not in the table, 0 where its value was written.

        Raises:
            TypeError: a dtype is another one.
            ValueError: a shape or a device is another one.
        """
        absent = find(self._words(self.keys_data), self._words(keys)) < 0
        self._check_values(values, keys)
        self.insert(keys[~absent], values[~absent])
        return absent.to(torch.uint8)

    def assign_arange_(self) -> Tensor:
        """Numbers the keys: the value of each becomes its place among the sorted keys.

        Returns:
            [1]: the number of keys.

        Raises:
            AssertionError: `value_dtype` is neither int32 nor int64.
        """
        if self.value_dtype not in COUNTS:
            raise AssertionError(f"value_dtype is {self.value_dtype}; wanted int32 or int64")
        count = len(self.keys_data)
        self._values = torch.arange(count, dtype=self.value_dtype, device=self.device)
        return self._count()

    def items(self, max_size: int = -1) -> tuple[Tensor, Tensor, Tensor]:
        """All keys and values, in buffers of which the first `count` entries are filled.

        Args:
            max_size: the length of the buffers. Default: that of the table, or on the CPU the
                number of keys.

        Returns:
            keys: [S] of `key_dtype`, in order, then zeros.
            values: [S] of `value_dtype`.
            count: [1], the number of keys.

        Raises:
            ValueError: `max_size` is less than the number of keys.
        """
        count = len(self.keys_data)
        if max_size == -1:
            max_size = count if self.is_cpu else self.max_size
        if max_size < count:
            raise ValueError(f"max_size is {max_size}; wanted {count} or more, the keys there are")
        buffers = (x.new_zeros(max_size) for x in (self.keys_data, self.values_data))
        keys, values = buffers
        keys[:count], values[:count] = self.keys_data, self.values_data
        return keys, values, self._count()

    def _count(self) -> Tensor:
        # A GPU's count has the size of the keys, as upstream's.
        dtype = torch.int32 if self.key_itemsize == 4 and not self.is_cpu else torch.int64
        return torch.tensor([len(self.keys_data)], dtype=dtype, device=self.device)

    def _words(self, keys: Tensor) -> Tensor:
        """Keys [N] as int64."""
        if keys.dtype != self.key_dtype:
            raise TypeError(f"keys is {keys.dtype}; this table's keys are {self.key_dtype}")
        if keys.ndim != 1 or keys.device.type != self.device.type:
            raise ValueError(
                f"keys has shape {tuple(keys.shape)} on {keys.device}; wanted one axis on "
                f"{self.device}"
            )
        return keys.detach().view(torch.int32 if self.key_itemsize == 4 else torch.int64).long()

    def _check_values(self, values: Tensor, keys: Tensor) -> None:
        if values.dtype != self.value_dtype:
            raise TypeError(f"values is {values.dtype}; this table's values are {self.value_dtype}")
        if values.shape != keys.shape or values.device != keys.device:
            raise ValueError(
                f"values has shape {tuple(values.shape)} on {values.device}; wanted "
                f"{tuple(keys.shape)} on {keys.device}, one for every key"
            )
