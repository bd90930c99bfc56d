"""Batch norm with the same bits for any number of threads, on any number of sites.

torch's own, on the CPU, adds up one part a thread, so its last digits change with their number; it
raises on one site, and a graph can't hold it where only the data says how many sites there are.
"""

import torch
from torch import Tensor, nn

from gossamer.coords import Coords
from gossamer.ops.rows import affine, column_dots, fold, gated_dots, moments, normalise_grad

AnyBatchNorm = nn.BatchNorm1d | nn.SyncBatchNorm


def takes(norm: AnyBatchNorm, features: Tensor) -> bool:
    """Whether `normalised` is wanted for `norm` on `features`, and not torch's own."""
    learns = norm.training or norm.running_mean is None
    return torch.compiler.is_compiling() or (
        learns and (features.device.type == "cpu" or features.shape[0] < 2)
    )


def check_counted(norm: AnyBatchNorm, sites: Coords) -> None:
    """Raise if `norm` would learn from rows of which only the device knows whether they exist."""
    if norm.training or norm.running_mean is None:
        sites.counted("a batch norm can't take its statistics")


def is_frozen(norm: AnyBatchNorm) -> bool:
    """Whether `norm` does the same to every row: not if it learns, or has no running statistics."""
    return not norm.training and norm.running_mean is not None and norm.running_var is not None


def frozen_affine(
    norm: AnyBatchNorm, bias: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """What a frozen norm multiplies by and adds, [C] each, where `bias` [C] was added before it."""
    assert norm.running_mean is not None and norm.running_var is not None  # or it is not frozen
    own = norm.weight, norm.bias
    return fold(norm.running_mean, norm.running_var, *own, bias, norm.eps, dtype)


def normalised(
    norm: AnyBatchNorm, features: Tensor, other: Tensor | None = None, slope: float = 1.0
) -> Tensor:
    """[N, C]: batch norm of `features`, whose running statistics move if there are two sites.

    With fewer there is no variance: then the running statistics normalise, and without them the
    mean of the one site and a variance of zero.

    Args:
        other: [N, C], added to the result.
        slope: what negative numbers are multiplied by after that.
    """
    wide, more = _wide(features), None if other is None else _wide(other)
    scale = wide.new_ones(wide.shape[1]) if norm.weight is None else norm.weight
    shift = wide.new_zeros(wide.shape[1]) if norm.bias is None else norm.bias
    known = norm.running_mean, norm.running_var
    if known[0] is None or known[1] is None:
        return _own(wide, scale, shift, norm.eps, more, slope)[0].to(features.dtype)
    if not norm.training:
        y = _by(wide, known[0], known[1], norm.eps, scale, shift)
        return _finished(y, more, slope).to(features.dtype)
    enough = wide.new_full((), wide.shape[0], dtype=torch.float32) > 1
    old = known[0].clone(), known[1].clone()
    y, mean, variance = _own(wide, scale, shift, norm.eps, more, slope)
    _learn(norm, mean, variance * wide.shape[0] / torch.sym_max(wide.shape[0] - 1, 1), enough)
    if torch.compiler.is_compiling() or wide.shape[0] < 2:
        by_old = _finished(_by(wide, *old, norm.eps, scale, shift), more, slope)
        y = torch.where(enough, y, by_old)
    return y.to(features.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.itemsize < 4 else x


def _by(x: Tensor, mean: Tensor, variance: Tensor, eps: float, *affine: Tensor) -> Tensor:
    scale, shift = affine
    return torch.addcmul(shift, x - mean, scale * (variance + eps).rsqrt())


def _finished(y: Tensor, other: Tensor | None, slope: float) -> Tensor:
    y = y if other is None else y + other
    return y if slope == 1 else nn.functional.leaky_relu(y, slope)


def _own(
    x: Tensor, scale: Tensor, shift: Tensor, eps: float, *last: Tensor | float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`x` by its own statistics and with the last steps, and these, apart from the gradients."""
    if not torch.compiler.is_compiling():
        return _Own.apply(x, scale, shift, eps, *last)  # type: ignore[return-value]
    mean, variance = moments(x)
    y = _finished(_by(x, mean, variance, eps, scale, shift), *last)  # type: ignore[arg-type]
    return y, mean.detach(), variance.detach()


class _Own(torch.autograd.Function):
    """`_by` its own moments and `_finished`, in few passes over memory both ways."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float, other, slope: float):
        mean, variance = moments(x)
        scale = weight * (variance + eps).rsqrt()
        shift = bias - mean * scale
        ctx.save_for_backward(x, other, weight, bias, mean, variance)
        ctx.eps, ctx.slope = eps, slope
        ctx.mark_non_differentiable(mean, variance)
        return affine(x, scale, shift, other, slope), mean, variance

    @staticmethod
    def backward(ctx, grad: Tensor, *_: Tensor):
        x, other, weight, bias, mean, variance = ctx.saved_tensors
        twice, slope = torch.is_grad_enabled(), ctx.slope
        if twice:  # a second derivative goes through them too
            mean, variance = moments(x)
        inverse, count = (variance + ctx.eps).rsqrt(), max(x.shape[0], 1)
        scale = weight * inverse
        gate = mean, scale, bias - mean * scale
        if twice:
            gated = _gated(grad, x, gate, other, slope)
            grad_bias, dot = column_dots(gated, x)
            dot = dot - mean * grad_bias
        else:
            grad_bias, dot, gated = gated_dots(grad, x, *gate, other, slope)
            # Gated on the way where nobody asks for it as a gradient.
            gated, slope = (grad, slope) if other is None else (gated, 1.0)
        # scale * (gated - mean of gated - normalised x * mean of gated * normalised x)
        by = scale, -scale * inverse.square() * dot / count, -scale * grad_bias / count
        if twice:
            grad_x = gated * by[0] + (x - mean) * by[1] + by[2]
        else:
            grad_x = normalise_grad(gated, x, *gate, by, slope)
        grad_other = None if other is None else gated
        return grad_x, dot * inverse, grad_bias, None, grad_other, None


def _gated(grad: Tensor, x: Tensor, gate: tuple, other: Tensor | None, slope: float) -> Tensor:
    _, scale, shift = gate
    with torch.no_grad():
        y = x * scale + shift
        positive = (y if other is None else y + other) > 0
    return torch.where(positive, grad, grad * slope)


def _learn(norm: AnyBatchNorm, mean: Tensor, variance: Tensor, enough: Tensor) -> None:
    """Move the running statistics towards these if there were enough sites."""
    tracked, old_mean, old_variance = norm.num_batches_tracked, norm.running_mean, norm.running_var
    if tracked is None or old_mean is None or old_variance is None:
        return
    tracked.add_(enough)
    rate = norm.momentum
    if rate is None:  # the mean over all batches
        rate = 1 / tracked.clamp(min=1).to(mean.dtype)
    old_mean.add_((mean - old_mean) * rate * enough)
    old_variance.add_((variance - old_variance) * rate * enough)
