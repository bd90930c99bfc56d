"""The name of a set of coordinates: its tensor stride, and a string where several share one."""

from collections.abc import Sequence

from gossamer.checks import is_int, per_axis

Name = tuple[tuple[int, ...], str]


class CoordinateMapKey:
    """A name, or a place for one that a layer fills in.

    Args:
        tensor_stride: D ints; or one int, the number of columns of a row, 1+D, for a place without
            a name.
        string_id: tells apart maps of one tensor stride.

    Raises:
        ValueError: a tensor stride below 0, or a number of columns below 2.
    """

    def __init__(self, tensor_stride: int | Sequence[int], string_id: str = ""):
        self._name: Name | None = None
        if is_int(tensor_stride):
            self._columns = int(tensor_stride)  # type: ignore[arg-type]
            if self._columns < 2:
                raise ValueError(
                    f"coordinate size is {tensor_stride}; wanted 1 + D columns, the batch and D "
                    "axes; for a key of one axis say CoordinateMapKey([stride], string_id)"
                )
        else:
            self._columns = 1 + len(tensor_stride)  # type: ignore[arg-type]
            self.set_key(tensor_stride, string_id)  # type: ignore[arg-type]

    def set_key(self, tensor_stride: Sequence, string_id: str | None = None) -> None:
        """Give it a name: a tensor stride and a string, or what `get_key` gave."""
        if string_id is None:
            tensor_stride, string_id = tensor_stride
        stride = per_axis("tensor_stride", tensor_stride, self._columns - 1, 0)
        self._name = stride, str(string_id)

    def is_key_set(self) -> bool:
        """Whether it has a name."""
        return self._name is not None

    @property
    def name(self) -> Name:
        """The tensor stride as a tuple, and the string.

        Raises:
            ValueError: it has none yet.
        """
        if self._name is None:
            raise ValueError(
                "this coordinate map key has no name yet; a layer or a manager gives it one, for "
                "instance manager.stride(key, 2) or x.coordinate_map_key"
            )
        return self._name

    def get_key(self) -> tuple[list[int], str]:
        """The tensor stride and the string."""
        return list(self.name[0]), self.name[1]

    def get_tensor_stride(self) -> list[int]:
        """The distance of two sites an axis, D ints."""
        return list(self.name[0])

    def get_coordinate_size(self) -> int:
        """1 + D."""
        return self._columns

    def get_dimension(self) -> int:
        """D."""
        return self._columns - 1

    def __eq__(self, other: object) -> bool:
        mine = self._name
        return isinstance(other, CoordinateMapKey) and mine is not None and mine == other._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        if self._name is None:
            return "coordinate map key:unset"
        stride, string_id = self._name
        return f"coordinate map key:{list(stride)}" + (f":{string_id}" if string_id else "")
