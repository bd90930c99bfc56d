"""Features of layers that treat rows alike, and of tensors that are put together."""

from collections.abc import Callable, Sequence

from torch import Tensor

from gossamer.compat.rows.values import Values


def rowwise(values: Values, function: Callable[[Tensor], Tensor]) -> Values:
    """What `function` makes of every row, in whatever order they lie.

    Args:
        values: of one tensor.
        function: one that does not see the order of rows, such as a batch norm.
    """
    given = values.at_hand
    result = function(given)
    return values if result is given else Values(result, values.rows)


def together(several: Sequence[Values]) -> tuple[list[Tensor], Values]:
    """The features of tensors on the same rows, all in one order, and the first to say which.

    Returns:
        features: [N, C] each.
        like: `Values` in that order.
    """
    like = next((v for v in several if v.rows is not None and not v.rows.repeat), several[0])
    if like.rows is None or like.rows.repeat:
        return [v.on_rows for v in several], Values(several[0].on_rows)
    return [v.onto(like.rows, "first") for v in several], like


def summed(one: Values, other: Values) -> Values:
    """The sum of the features of two tensors on the same rows."""
    features, like = together([one, other])
    return Values(features[0] + features[1], like.rows)
