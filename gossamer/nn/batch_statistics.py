"""Batch norm with the same bits for any number of threads, on any number of sites.

torch's own, on the CPU, adds up one part a thread, so its last digits change with their number; it
raises on one site, and a graph can't hold it where only the data says how many sites there are.
"""

import torch
from torch import Tensor, nn

from gossamer.ops.pool import column_dots, moments

AnyBatchNorm = nn.BatchNorm1d | nn.SyncBatchNorm


def takes(norm: AnyBatchNorm, features: Tensor) -> bool:
    """Whether `normalised` is wanted for `norm` on `features`, and not torch's own."""
    learns = norm.training or norm.running_mean is None
    return torch.compiler.is_compiling() or (
        learns and (features.device.type == "cpu" or features.shape[0] < 2)
    )


def normalised(norm: AnyBatchNorm, features: Tensor) -> Tensor:
    """[N, C]: batch norm of `features`, whose running statistics move if there are two sites.

    With fewer there is no variance: then the running statistics normalise, and without them the
    mean of the one site and a variance of zero.
    """
    wide = features.float() if features.itemsize < 4 else features
    scale = wide.new_ones(wide.shape[1]) if norm.weight is None else norm.weight
    shift = wide.new_zeros(wide.shape[1]) if norm.bias is None else norm.bias
    known = norm.running_mean, norm.running_var
    if known[0] is None or known[1] is None:
        return _own(wide, scale, shift, norm.eps)[0].to(features.dtype)
    if not norm.training:
        return _by(wide, known[0], known[1], norm.eps, scale, shift).to(features.dtype)
    enough = wide.new_full((), wide.shape[0], dtype=torch.float32) > 1
    old = known[0].clone(), known[1].clone()
    y, mean, variance = _own(wide, scale, shift, norm.eps)
    _learn(norm, mean, variance * wide.shape[0] / torch.sym_max(wide.shape[0] - 1, 1), enough)
    if torch.compiler.is_compiling() or wide.shape[0] < 2:
        y = torch.where(enough, y, _by(wide, *old, norm.eps, scale, shift))
    return y.to(features.dtype)


def _by(x: Tensor, mean: Tensor, variance: Tensor, eps: float, *affine: Tensor) -> Tensor:
    scale, shift = affine
    return torch.addcmul(shift, x - mean, scale * (variance + eps).rsqrt())


def _own(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """`x` by its own statistics, and these, apart from the graph of gradients."""
    if not torch.compiler.is_compiling():
        return _Own.apply(x, scale, shift, eps)  # type: ignore[return-value]
    mean, variance = moments(x)
    return _by(x, mean, variance, eps, scale, shift), mean.detach(), variance.detach()


class _Own(torch.autograd.Function):
    """`_by` its own moments, with a gradient in few passes over memory."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, shift: Tensor, eps: float):
        mean, variance = moments(x)
        ctx.save_for_backward(x, scale, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        # One pass, and with given statistics each number by itself.
        y = nn.functional.batch_norm(x, mean, variance, scale, shift, eps=eps)
        return y, mean, variance

    @staticmethod
    def backward(ctx, grad: Tensor, *_: Tensor):
        x, scale, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative goes through them too
            mean, variance = moments(x)
        count, inverse = max(x.shape[0], 1), (variance + ctx.eps).rsqrt()
        grad_shift, dot = column_dots(grad, x)
        grad_scale = (dot - mean * grad_shift) * inverse
        # scale * inverse * (grad - mean of grad - normalised x * mean of grad * normalised x)
        from_grad, from_x = scale * inverse, -scale * inverse.square() * grad_scale / count
        rest = -from_grad * grad_shift / count - from_x * mean
        return torch.addcmul(rest, grad, from_grad).addcmul(x, from_x), grad_scale, grad_shift, None


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
