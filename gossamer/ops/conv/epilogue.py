"""The last steps of a tile of output rows, taken while they are still in the cache."""

from numba import njit

from gossamer.ops.rulebooks import TILE


@njit(nogil=True, cache=True)
def finish(y, tile, scale, shift, residual, slope):
    """activation(y * scale + shift + residual) on the rows of a tile; empty arrays are nothing."""
    begin, end = tile * TILE, min(y.shape[0], tile * TILE + TILE)
    if scale.size:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] *= scale[c]
    if shift.size:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] += shift[c]
    if residual.shape[0]:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] += residual[row, c]
    if slope == 0:  # not a product, which would make NaN of an infinity
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] = 0 if y[row, c] < 0 else y[row, c]
    elif slope != 1:
        for row in range(begin, end):
            for c in range(y.shape[1]):
                y[row, c] *= slope if y[row, c] < 0 else 1
