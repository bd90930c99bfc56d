"""Functions of torch.nn.functional on the features of every site or point.

The losses take a target with a row for each row of the input, and return a tensor.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from gossamer.compat.minkowski.rowwise import replaced, values_of
from gossamer.compat.rows.values import Values

Layer = Callable[..., Any]


def _wrap_tensor(input: Any, F: Tensor) -> Any:
    """`input` with the features `F` [N, C] in place of its own."""
    values_of(input)
    return replaced(input, Values(F))


def _on_features(name: str, *, ordered: bool = False) -> Layer:
    """A function of a tensor's features as a function of the tensor.

    Args:
        name: of a function in torch.nn.functional that does the same to each row, up to what all
            rows have in common.
        ordered: whether it makes a difference in which order the rows lie.
    """
    function = getattr(functional, name)

    def layer(input: Any, *args: Any, **kwargs: Any) -> Any:
        values = values_of(input)
        rows, given = (None, values.on_rows) if ordered else (values.rows, values.at_hand)
        result = function(given, *args, **kwargs)
        return replaced(input, values if result is given else Values(result, rows))

    return _named(layer, name, "the same sites or points, with new features")


def _loss(name: str) -> Layer:
    function = getattr(functional, name)

    def loss(input: Any, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(values_of(input).on_rows, target, *args, **kwargs)

    return _named(loss, name, "a tensor; a target has a row for each row of the input")


def _named(layer: Layer, name: str, result: str) -> Layer:
    layer.__name__ = layer.__qualname__ = name
    layer.__doc__ = f"torch.nn.functional.{name} of the features: {result}."
    return layer


threshold = _on_features("threshold")
relu = _on_features("relu")
hardtanh = _on_features("hardtanh")
hardswish = _on_features("hardswish")
relu6 = _on_features("relu6")
elu = _on_features("elu")
selu = _on_features("selu")
celu = _on_features("celu")
leaky_relu = _on_features("leaky_relu")
prelu = _on_features("prelu")
rrelu = _on_features("rrelu", ordered=True)
glu = _on_features("glu")
gelu = _on_features("gelu")
logsigmoid = _on_features("logsigmoid")
hardshrink = _on_features("hardshrink")
tanhshrink = _on_features("tanhshrink")
softsign = _on_features("softsign")
softplus = _on_features("softplus")
softmin = _on_features("softmin")
softmax = _on_features("softmax")
softshrink = _on_features("softshrink")
gumbel_softmax = _on_features("gumbel_softmax", ordered=True)
log_softmax = _on_features("log_softmax")
tanh = _on_features("tanh")
sigmoid = _on_features("sigmoid")
hardsigmoid = _on_features("hardsigmoid")
silu = _on_features("silu")

batch_norm = _on_features("batch_norm")
normalize = _on_features("normalize")
linear = _on_features("linear")

dropout = _on_features("dropout", ordered=True)
alpha_dropout = _on_features("alpha_dropout", ordered=True)

binary_cross_entropy = _loss("binary_cross_entropy")
binary_cross_entropy_with_logits = _loss("binary_cross_entropy_with_logits")
poisson_nll_loss = _loss("poisson_nll_loss")
cross_entropy = _loss("cross_entropy")
hinge_embedding_loss = _loss("hinge_embedding_loss")
kl_div = _loss("kl_div")
l1_loss = _loss("l1_loss")
mse_loss = _loss("mse_loss")
multilabel_margin_loss = _loss("multilabel_margin_loss")
multilabel_soft_margin_loss = _loss("multilabel_soft_margin_loss")
multi_margin_loss = _loss("multi_margin_loss")
nll_loss = _loss("nll_loss")
smooth_l1_loss = _loss("smooth_l1_loss")
soft_margin_loss = _loss("soft_margin_loss")
