"""The formats of checkpoints: what each library calls a weight, and how it lays it out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """How a library writes a sparse convolution into a state_dict.

    Args:
        layout: of the weight, a name of convert.layouts.
        parameter: what the weight is called.
        row_bias: whether a bias is [1, C_out] and not [C_out].
        wraps_norms: whether the entries of a batch norm have `bn.` before their names.
        marks: whether each layer's version in the state_dict's metadata is 2, by which
            mmdetection3d knows spconv 2's layout.
    """

    layout: str
    parameter: str
    row_bias: bool = False
    wraps_norms: bool = False
    marks: bool = False


FORMATS = {
    "native": Format("native", "weight"),
    "spconv1": Format("RSCK", "weight"),
    "spconv2": Format("KRSC", "weight"),
    "torchsparse": Format("torchsparse", "kernel"),
    "torchsparse14": Format("torchsparse14", "kernel"),
    "minkowski": Format("minkowski", "kernel", row_bias=True, wraps_norms=True),
    "mmdet3d": Format("KRSC", "weight", marks=True),
}


def known(name: str, argument: str) -> Format:
    """The format called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"{argument} is {name!r}; wanted one of {', '.join(FORMATS)}")
    return FORMATS[name]
