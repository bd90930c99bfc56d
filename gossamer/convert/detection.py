"""Which library wrote a state_dict, as far as its keys and shapes say."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from gossamer.convert import shapes
from gossamer.convert.norms import norm_of, wrapped
from gossamer.convert.options import Options, fits, joined, module_of

# Where mmdetection3d's detectors and segmentors keep their sparse layers.
MMDET3D = (".middle_encoder.", ".pts_middle_encoder.", ".backbone.conv_input.")


@dataclass(frozen=True)
class Detection:
    """Which format a state_dict has.

    Args:
        format: a name of FORMATS; None where several are as likely and mean different numbers.
        layout: of the weights; "" where the format is None.
        candidates: the formats that it can have, the likeliest first.
        certain: whether nothing else fits.
        why: what tells, in words.
    """

    format: str | None
    layout: str
    candidates: tuple[str, ...]
    certain: bool
    why: str


def detect(state: Mapping[str, object], options: Options | None = None) -> Detection:
    """The format of a state_dict, as far as it shows.

    Args:
        state: entries by key, those of a model and not of a whole checkpoint.
        options: which entries to look at (`only`, `skip`), and how many axes kernels have.

    Raises:
        ValueError: there is no sparse convolution in it.
    """
    options = options or Options()
    tensors = {
        key: value
        for key, value in state.items()
        if isinstance(value, Tensor) and not fits(key, options.skip)
    }
    looked_at = [key for key in tensors if not options.only or fits(key, options.only)]
    kernels = [k for k in looked_at if _called(k, "kernel") and tensors[k].ndim in (2, 3)]
    if kernels:
        return _of_kernels(tensors, kernels)
    weights = [k for k in looked_at if _called(k, "weight")]
    grids = [k for k in weights if 4 <= tensors[k].ndim <= 6]
    likely = [k for k in grids if _sparse(tensors[k].shape) > shapes.dense(tensors[k].shape)]
    if likely:
        return _of_grids(tensors, likely, getattr(state, "_metadata", None))
    listed = [k for k in weights if tensors[k].ndim == 3]
    if any(shapes.listed(tensors[k].shape, k, options) > 1 for k in listed):
        return Detection(
            "native", "native", ("native",), True, "weights [taps, in, out] called weight"
        )
    raise ValueError(
        f"no sparse convolution among {len(state)} entries: nothing called kernel, and no weight "
        "with the shape of a sparse one; if there is one, say --from FORMAT and --only PATTERN"
    )


def _called(key: str, name: str) -> bool:
    return key.rpartition(".")[2] == name


def looks_dense(shape: tuple[int, ...]) -> bool:
    """Whether torch's reading of a shape is likelier than each of spconv's."""
    return _sparse(shape) < shapes.dense(shape)


def _sparse(shape: tuple[int, ...]) -> int:
    return max(shapes.grid(shape, "KRSC"), shapes.grid(shape, "RSCK"))


def _of_kernels(tensors: Mapping[str, Tensor], kernels: list[str]) -> Detection:
    """MinkowskiEngine's or TorchSparse's, which call a weight `kernel`."""
    biases = [tensors.get(joined(module_of(key), "bias")) for key in kernels]
    rows = any(bias is not None and bias.ndim == 2 for bias in biases)
    if rows or wrapped(tensors):
        why = "biases [1, C]" if rows else "batch norms under bn"
        return Detection("minkowski", "minkowski", ("minkowski",), True, why)
    bare = any(_called(key, "running_mean") for key in tensors)
    flat = any(bias is not None for bias in biases)
    kept = any(tensors[key].ndim == 3 and tensors[key].shape[0] == 1 for key in kernels)
    both = ("torchsparse",) if kept else ("torchsparse", "torchsparse14")
    name, also = "torchsparse", "" if kept else "; 1.4 and 2.1 store these alike"
    if bare or flat:
        why = "weights called kernel, " + ("bare batch norms" if bare else "biases [C]")
        return Detection(name, name, both, len(both) == 1, why + also)
    candidates = (*both, "minkowski")
    even = any(tensors[key].ndim == 3 and tensors[key].shape[0] % 2 == 0 for key in kernels)
    if even:
        why = "weights called kernel, and neither batch norms nor biases, which would tell"
        return Detection(None, "", candidates, False, why)
    why = "weights called kernel with odd numbers of taps, which all of these store alike"
    return Detection(name, name, candidates, False, why)


def _of_grids(tensors: Mapping[str, Tensor], likely: list[str], metadata) -> Detection:
    """spconv's, in one of its three layouts."""
    layout, why = grid_layout(tensors, likely, metadata)
    if layout is None:
        return Detection(None, "", ("spconv1", "spconv2"), False, why)
    name = "spconv1" if layout == "RSCK" else "spconv2"
    if any(mark in f".{key}" for key in likely for mark in MMDET3D):
        return Detection(
            "mmdet3d", layout, ("mmdet3d", name), True, f"mmdetection3d's names, {why}"
        )
    return Detection(name, layout, (name,), True, why)


def grid_layout(
    tensors: Mapping[str, Tensor], likely: list[str], metadata: Mapping | None
) -> tuple[str | None, str]:
    """Which of spconv's layouts some weights have, and what tells; None where nothing does."""
    first = sum(_first(tensors[key].shape) for key in likely)
    marked = [key for key in likely if (metadata or {}).get(module_of(key), {}).get("version") == 2]
    if first > 0 or marked:
        return "KRSC", "weights [out, *kernel, in]" + (", marked as version 2" if marked else "")
    votes = list(_votes(tensors, likely))
    out_last, in_last = votes.count("RSCK"), votes.count("RSKC")
    told = f"weights [*kernel, in, out] by the norm or bias of {out_last} of them"
    if out_last > in_last:
        return "RSCK", told
    if in_last > out_last:
        return "RSKC", f"weights [*kernel, out, in], as spconv 2.0 has, by {in_last} of them"
    return None, (
        "weights [*kernel, a, b], of which nothing tells whether a counts the input channels "
        "(spconv 1.x, mmcv) or the output channels (spconv 2.0)"
    )


def _first(shape: tuple[int, ...]) -> int:
    """Above 0 if a weight looks like [C_out, *k, C_in], below for [*k, ..., ...]."""
    return shapes.grid(shape, "KRSC") - shapes.grid(shape, "RSCK")


def _votes(tensors: Mapping[str, Tensor], likely: list[str]) -> Iterator[str]:
    """For each weight the layout that agrees with its bias, or with the norm behind it."""
    for key in likely:
        a, b = tensors[key].shape[-2:]
        module = module_of(key)
        bias = tensors.get(joined(module, "bias"))
        vector = norm_of(module, tensors) if bias is None else bias
        if a != b and vector is not None and vector.numel() in (a, b):
            yield "RSCK" if vector.numel() == b else "RSKC"
