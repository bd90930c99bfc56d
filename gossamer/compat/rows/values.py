"""Features in the order of a caller's rows, or of sites until he asks for his."""

import torch
from torch import Tensor

from gossamer.compat.rows.sites import Rows


class Values:
    """The features of one or several tensors, which all see what is written into them.

    Args:
        given: [R, C], on rows; or [N, C], on the sites under `rows`.
        rows: how the caller's rows lie on sites, where `given` is on sites.
    """

    def __init__(self, given: Tensor, rows: Rows | None = None):
        self._on_rows = given if rows is None else None
        self._on_sites = None if rows is None else (given, rows)

    @property
    def on_rows(self) -> Tensor:
        """[R, C]: in the caller's order, from now on."""
        held = self._on_sites
        if held is None or self._on_rows is not None:
            assert self._on_rows is not None
            return self._on_rows
        values, rows = held
        # Whoever looks first may do so without gradients, and others may want them later.
        with torch.inference_mode(False), torch.enable_grad():
            self._on_rows = rows.back(values)
        self._on_sites = None
        return self._on_rows

    @property
    def at_hand(self) -> Tensor:
        """[R or N, C]: in whatever order they lie."""
        held = self._on_sites
        return self.on_rows if held is None else held[0]

    @property
    def rows(self) -> Rows | None:
        """How rows lie on the sites that features are on; None where they are on rows."""
        held = self._on_sites
        return None if held is None else held[1]

    def onto(self, rows: Rows, how: str) -> Tensor:
        """[N, C]: on the sites under `rows`; `how` as `Rows.onto` has it."""
        held = self._on_sites
        return held[0] if held is not None and held[1] is rows else rows.onto(self.on_rows, how)
