"""A convolution over a table: which kernels run, in which order, with which workspace."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossamer.ops.conv import Epilogue
from gossamer.ops.conv.gpu.epilogue import LastSteps, last_steps
from gossamer.ops.conv.gpu.gemm import multiply
from gossamer.ops.conv.gpu.items import add_items
from gossamer.ops.conv.gpu.taps import naming
from gossamer.ops.launch import interpreted, launch
from gossamer.ops.plans import Choice, Tile

SUM_ROWS, SUM_OUT = 16, 64
"""Slots and columns whose work items one program adds."""


def slices(tile: Tile) -> int:
    """In how many parts the columns of a tile are finished."""
    # A thread has 255 registers for its sums, a residual and other orders' sums, and their
    # addresses: at once they spill from 128 columns on, and 32 numbers a thread at a time do not.
    wanted = tile.rows * tile.columns // (tile.warps * 32 * 32)
    return max(count for count in (1, 2, 4) if count == 1 or count <= wanted)


@dataclass(frozen=True, eq=False)
class Product:
    """One convolution.

    Args:
        x: [N, C_in], contiguous.
        weight: [K, C_in/groups, C_out], contiguous but for an exchange of its last two axes.
        lists: the table.
        y: [M, C_out], to be filled.
        last: what finishes a row of it.
        groups: how many parts the channels fall into.
        choice: the tile, the limit of a work item and the precision.
    """

    x: Tensor
    weight: Tensor
    lists: Sequence[Tensor]
    y: Tensor
    last: LastSteps
    groups: int
    choice: Choice

    @property
    def orders(self) -> int:
        return self.lists[1].shape[0]

    @property
    def lines(self) -> int:
        """Lines of one order."""
        return self.lists[0].shape[0] // self.orders

    @property
    def items(self) -> int:
        """Work items that a tile can have."""
        limited = self.orders == 1 and 0 < self.choice.limit < self.lines
        return -(-self.lines // self.choice.limit) if limited else 1

    def workspace(self, layers: int) -> Tensor:
        """[layers, S, C_out] float32."""
        slots = self.lists[1].shape[1]
        return self.y.new_empty(layers, slots, self.y.shape[1], dtype=torch.float32)

    def multiply(self, store: str, partial: Tensor, orders: int = 1) -> None:
        """Launch the kernel for `orders` orders of the table."""
        tile = self.choice.tile
        _, rows, masks, _, taps = self.lists[:5]
        c_in, c_out = self.weight.shape[1], self.weight.shape[2] // self.groups
        plain = self.weight.is_contiguous()
        tiles = -(-rows.shape[1] // tile.rows)
        arrays = (self.x, self.weight, self.y, partial, *self.lists[:5])
        launch(
            multiply,
            (tiles * self.items * -(-c_out // tile.columns), self.groups, orders),
            (*arrays, *self.last.arguments, masks.shape[2], self.lines, self.y.shape[0]),
            warps=tile.warps,
            stages=tile.stages,
            ORDERS=self.orders,
            WORDS=masks.shape[1],
            TAPS=naming(taps),
            STORE=store,
            LIMIT=self.choice.limit if store == "items" else 0,
            ITEMS=self.items,
            GROUPS=self.groups,
            C_IN=c_in,
            C_OUT=c_out,
            W_IN=self.y.shape[1] if plain else 1,
            W_OUT=1 if plain else c_in,
            TILE_ROWS=tile.rows,
            TILE_OUT=tile.columns,
            TILE_IN=tile.channels,
            SLICES=slices(tile),
            PRECISION=self.choice.precision if self.x.dtype == torch.float32 else "ieee",
            UPCAST=interpreted(),
            **self.last.constants,
        )

    def add_items(self, partial: Tensor) -> None:
        """Launch the kernel that finishes the tiles of more than one work item."""
        width, (_, rows, masks) = self.y.shape[1], self.lists[:3]
        launch(
            add_items,
            (rows.shape[1] // SUM_ROWS * -(-width // SUM_OUT),),
            (self.y, partial, rows, masks, *self.last.arguments, masks.shape[2]),
            WORDS=masks.shape[1],
            LIMIT=self.choice.limit,
            WIDTH=width,
            TILE_ROWS=self.choice.tile.rows,
            SUM_ROWS=SUM_ROWS,
            SUM_OUT=SUM_OUT,
            **self.last.constants,
        )


def product(
    x: Tensor,
    weight: Tensor,
    lists: Sequence[Tensor],
    rows: int,
    groups: int,
    epilogue: Epilogue,
    choice: Choice,
) -> Tensor:
    """[M, C_out] of the dtype of x; a row that the table has no slot for is not written."""
    y = x.new_empty(rows, weight.shape[2])
    weight = _laid_out(weight, choice.precision if x.dtype == torch.float32 else "ieee")
    last = last_steps(epilogue, y)
    todo = Product(x.contiguous(), weight, lists, y, last, groups, choice)
    if todo.orders > 1:
        partial = todo.workspace(todo.orders - 1)
        todo.multiply("partial", partial, todo.orders - 1)
        todo.multiply("whole", partial)
    elif todo.items > 1:
        partial = todo.workspace(todo.items)
        todo.multiply("items", partial)
        todo.add_items(partial)
    else:
        todo.multiply("whole", y)
    return y


def _laid_out(weight: Tensor, precision: str) -> Tensor:
    """`weight` with one of its last two axes contiguous, and the one that is fast."""
    if precision == "tf32" and not weight.mT.is_contiguous():
        # Matrix instructions for tf32 want neighbouring input channels together. A copy here saves
        # every program one that goes by 4 bytes, and it is small beside x.
        return weight.mT.contiguous().mT
    either = weight.is_contiguous() or weight.mT.is_contiguous()
    return weight if either else weight.contiguous()
