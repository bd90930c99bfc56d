"""Features on their way through a rulebook, in whatever order they lie.

Rows are put into the order of sites before the first layer and back when somebody asks; what lies
between, a chain of layers, never sees the caller's order.
"""

from collections.abc import Callable

from torch import Tensor, nn

from gossamer.compat.rows.rowwise import maps_rows_alike
from gossamer.compat.rows.sites import Link, Rows
from gossamer.compat.rows.values import Values


def through(
    values: Values, link: Link, weight: Tensor, bias: Tensor | None = None, groups: int = 1
) -> Values:
    """The features after a convolution.

    Of several rows at one site all count, but for a submanifold kernel: there each row sees itself
    at the centre, and of its neighbours the first row of a site.

    Args:
        values: [N, C_in], of the rows under `link.source`.
        link: the way to the result's rows.
        weight: [K, C_in/groups, C_out], by the taps of the link's geometry.
        bias: [C_out].
        groups: how many parts the channels fall into.

    Raises:
        ValueError: there are not as many features as rows.
    """
    how = "first" if link.submanifold else "sum"
    y = link.convolve(values.onto(link.source, how), weight, bias, groups)
    if not (link.submanifold and link.source.repeat):
        return written(y, link.target)
    later, more = link.seen_alone(values.on_rows, weight, groups)
    return Values(link.target.back(y).index_add(0, later, more))


def pooled(values: Values, link: Link, how: str) -> Values:
    """The features after a pooling; of several rows at one site all count.

    Args:
        values: [N, C], of the rows under `link.source`.
        link: the way to the result's rows.
        how: "max", "sum", or "mean" over the inputs there are.
    """
    together = "max" if how == "max" else "sum"
    features = values.onto(link.source, together)
    if how != "mean":
        return written(link.rulebook.reduce(features, together), link.target)
    # A sum may be beyond a half type whose mean is not, and so may a count.
    wide = features.float() if features.itemsize < 4 else features
    total = link.rulebook.reduce(wide, "sum")
    ones = total.new_ones(len(link.source), 1)
    count = link.rulebook.reduce(link.source.onto(ones, "sum"), "sum")
    return written((total / count.clamp(min=1)).to(features.dtype), link.target)


def written(values: Tensor, rows: Rows) -> Values:
    """What a rulebook wrote [N, C] on the sites under `rows`."""
    # Where rows repeat, a site would count once in sums and statistics that take every row.
    return Values(rows.back(values)) if rows.repeat else Values(values, rows)


def mapped(values: Values, function: nn.Module | Callable[[Tensor], Tensor]) -> Values:
    """The same rows with what `function` makes of their features.

    They keep the order in which they lie where that makes no difference; a function whose class is
    not torch's sees the caller's.
    """
    rows, given = values.rows, values.at_hand
    if rows is not None and not (isinstance(function, nn.Module) and maps_rows_alike(function)):
        rows, given = None, values.on_rows
    result = function(given)
    return values if result is given else Values(result, rows)
