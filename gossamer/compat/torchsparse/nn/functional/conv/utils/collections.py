"""A dict whose keys are attributes."""

from typing import Any


class AttributeDict(dict):
    """A dict of which `d.key` and `d["key"]` are the same, also of dicts inside it."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()
        self.update(*args, **kwargs)

    def __setitem__(self, key: Any, value: Any) -> None:
        plain = isinstance(value, dict) and not isinstance(value, AttributeDict)
        super().__setitem__(key, AttributeDict(value) if plain else value)

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"there is no {name!r}; there are {', '.join(map(str, self))}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"there is no {name!r} to delete")
        del self[name]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set keys, as dict.update does."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value of a key, set first if it is not there."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> "AttributeDict":
        """A new one with the same values."""
        return AttributeDict(self)

    def to_dict(self) -> dict:
        """Plain dicts."""
        return {k: v.to_dict() if isinstance(v, AttributeDict) else v for k, v in self.items()}
