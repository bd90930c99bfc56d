"""Exceptions raised on purpose, where ValueError and TypeError alone would say too little."""


class NoBackendError(NotImplementedError):
    """No backend takes a problem; the message gives every backend's reason."""

    def __init__(self, problem: str, refusals: dict[str, str]):
        reasons = "\n".join(f"  {name:<10} {reason}" for name, reason in refusals.items())
        super().__init__(f"no backend can run {problem}:\n{reasons}")
        self.refusals = refusals


class KeyRangeError(ValueError):
    """Coordinates span more cells than a 63-bit key can number."""


class CapacityError(ValueError):
    """A fixed number of rows does not hold the sites that there are."""


class DuplicateSitesError(ValueError):
    """Two rows of a sparse tensor name the same site."""


class FormatError(ValueError):
    """A file is not what its name or header says."""


class CheckpointError(ValueError):
    """A checkpoint does not fit the model it is loaded into."""
