"""Which entries of a state_dict are the weights of sparse convolutions."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from torch import Tensor

from gossamer.convert import shapes
from gossamer.convert.formats import Format
from gossamer.convert.layouts import Kernel
from gossamer.convert.options import Options, fits, joined, module_of, size_of

SHOWN = 6


@dataclass(frozen=True)
class Found:
    """The sparse convolutions among the entries.

    Args:
        kernels: of each weight, by its key.
        left: other weights of two axes and more, and why they are none.
    """

    kernels: dict[str, Kernel]
    left: dict[str, str]


def convolutions(state: Mapping[str, object], written: Format, options: Options) -> Found:
    """The sparse convolutions of a state_dict in some format.

    Args:
        state: the entries.
        written: the format, its layout that of the entries.
        options: what else is known.

    Raises:
        ValueError: a weight can be a sparse one and a dense one, or `only` names something that
            can't be one.
    """
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    wanted = (2, 3) if written.parameter == "kernel" else (3,)
    if written.layout in ("KRSC", "RSKC", "RSCK"):
        wanted = (3, 4, 5, 6)
    taken: list[str] = []
    left: dict[str, str] = {}
    undecided: list[str] = []
    for key, tensor in tensors.items():
        why = _refusal(key, tensor, written, options, wanted)
        if why is None and (key in options.only or written.parameter == "kernel"):
            taken.append(key)
        elif why is None:
            verdict = _verdict(key, tensor.shape, written, options, tensors)
            if verdict > 0 or (verdict == 0 and options.only):
                taken.append(key)
            elif verdict == 0:
                undecided.append(key)
            else:
                why = "the shape of a dense convolution"
        if why is not None and tensor.ndim > 1:
            left[key] = why
    _settle(undecided, taken, left, tensors, written)
    order = [key for key in tensors if key in set(taken)]
    return Found({key: _kernel(key, tensors[key], written, options) for key in order}, left)


def _refusal(
    key: str, tensor: Tensor, written: Format, options: Options, wanted: tuple[int, ...]
) -> str | None:
    """Why an entry is no weight of a sparse convolution, before anybody looks at its shape."""
    if fits(key, options.skip):
        return "skipped"
    if key.rpartition(".")[2] != written.parameter:
        return f"not called {written.parameter}"
    if options.only and not fits(key, options.only):
        return "not among those named"
    if tensor.ndim not in wanted:
        if key in options.only:
            axes = " or ".join(map(str, wanted))
            raise ValueError(
                f"only names {key}, which is {tuple(tensor.shape)}; a sparse convolution has "
                f"{axes} axes there, so name other keys or another source format"
            )
        return f"{tensor.ndim} axes" + (", as torch.nn.Linear has" if tensor.ndim == 2 else "")
    return None


def _verdict(
    key: str, shape: tuple[int, ...], written: Format, options: Options, tensors: dict[str, Tensor]
) -> int:
    """1 for a sparse convolution, -1 for another thing, 0 where the shape does not say."""
    if written.layout == "native":
        sparse = shapes.listed(shape, key, options)
    else:
        sparse = shapes.grid(shape, written.layout)
    dense = shapes.dense(shape)
    if sparse != dense or not sparse:
        return 1 if sparse > dense else -1
    bias = tensors.get(joined(module_of(key), "bias"))
    if bias is None:
        return 0
    fits_sparse = bias.numel() == shapes.out_channels(shape, written.layout)
    return int(fits_sparse) - int(bias.numel() == shapes.out_channels(shape, "dense"))


def _settle(
    undecided: list[str],
    taken: list[str],
    left: dict[str, str],
    tensors: dict[str, Tensor],
    written: Format,
) -> None:
    """Take an undecided weight for what all others with as many axes are."""
    open_questions = []
    for key in undecided:
        axes = tensors[key].ndim
        sparse = any(tensors[other].ndim == axes for other in taken if other not in undecided)
        dense = any(tensors[other].ndim == axes for other in left)
        # One axis more than a matrix is common to many things, so the others say nothing there.
        if sparse == dense or (axes == 3 and sparse):
            open_questions.append(key)
        elif sparse:
            taken.append(key)
        else:
            left[key] = "the shape of a dense convolution, as others here have"
    if open_questions:
        told = ", ".join(f"{key} {tuple(tensors[key].shape)}" for key in open_questions[:SHOWN])
        more = f" and {len(open_questions) - SHOWN} more" if len(open_questions) > SHOWN else ""
        raise ValueError(
            f"{told}{more} can be a sparse convolution's weight in {written.layout} layout and a "
            "dense convolution's in torch's; leave those that are dense alone with --skip KEY, or "
            "name the sparse ones with --only PATTERN"
        )


def _kernel(key: str, tensor: Tensor, written: Format, options: Options) -> Kernel:
    shape = tuple(tensor.shape)
    strided = fits(key, options.strided)
    if written.layout in ("KRSC", "RSKC", "RSCK"):
        size = shape[1:-1] if written.layout == "KRSC" else shape[:-2]
        return Kernel(prod(size), size, prod(size) == 1 and not strided)
    taps = shape[0] if tensor.ndim == 3 else 1
    # A flat weight is that of a plain layer, where its format keeps the others in three axes.
    says = written.layout in ("torchsparse", "minkowski")
    plain = tensor.ndim == 2 and not strided if says else not strided
    return Kernel(taps, size_of(key, taps, options), taps == 1 and plain)
