"""A sparse convolution with spconv's parameters, names and rules, over gossamer's rulebooks."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossamer.checks import whole
from gossamer.compat.cumm import tensorview as tv
from gossamer.compat.layers import routing, weights
from gossamer.compat.layers.activation import FUSED, NONE, activate, number
from gossamer.compat.layers.fusing import Tail
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.recording import keep_maximum, recorded, timed
from gossamer.compat.layers.routing import Route
from gossamer.compat.layers.sizes import sizes
from gossamer.compat.rows.sites import Link
from gossamer.compat.spconv import constants
from gossamer.compat.spconv.core import ConvAlgo
from gossamer.compat.spconv.pytorch import ops
from gossamer.compat.spconv.pytorch.core import SparseConvTensor
from gossamer.compat.spconv.pytorch.modules import SparseModule
from gossamer.nn.autocast import in_autocast_dtype
from gossamer.nn.chain import is_bare
from gossamer.nn.linear import ONE_TAP
from gossamer.nn.located import located
from gossamer.nn.product import multiply, wants_gradient
from gossamer.ops.conv import Epilogue

PerAxis = int | Sequence[int]
_MAX_NUM_VOXELS_DURING_TRAINING = "max_num_voxels_during_training"


class SparseConvolutionBase:
    """What a convolution is, without its parameters.

    Args:
        ndim: D.
        in_channels, out_channels: C_in and C_out.
        kernel_size, stride, padding, dilation, output_padding: one int or D.
        groups: how many parts the channels fall into; upstream has none.
        bias: taken for the order of arguments.
        subm: whether outputs are the input's sites; then stride and padding have nothing to say.
        transposed: whether outputs are the sites that taps reach.
        inverse: whether to go back through the rulebook under `indice_key`.
        indice_key: under which the rulebook is kept and found again.
        algo: which arrays that rulebook offers; layers that share a key need the same.
        fp32_accum: nothing here: half types are always summed in float32.
        record_voxel_count: whether to keep the largest number of outputs seen.
        act_type, act_alpha, act_beta: an activation of the result; alpha is LeakyReLU's slope.
        large_kernel_fast_algo: whether the default `algo` is MaskImplicitGemm up to 128 taps.

    Raises:
        AssertionError: padding on a convolution of one tap and stride 1, or another number of axes.
        ValueError: channels that `groups` does not divide, or a kernel_size below 1.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis = 3,
        stride: PerAxis = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        subm: bool = False,
        output_padding: PerAxis = 0,
        transposed: bool = False,
        inverse: bool = False,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        record_voxel_count: bool = False,
        act_type: tv.gemm.Activation = tv.gemm.Activation.None_,
        act_alpha: float = 0,
        act_beta: float = 0,
        large_kernel_fast_algo: bool = False,
    ):
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if whole(name, value) < 1 or groups < 1 or value % groups:
                raise ValueError(f"{name} is {value} with {groups} groups; wanted a multiple of it")
        self.ndim = ndim
        self.in_channels, self.out_channels = int(in_channels), int(out_channels)
        self.groups = groups
        self.kernel_size = sizes("kernel_size", ndim, kernel_size)
        if min(self.kernel_size) < 1:
            raise ValueError(f"kernel_size is {self.kernel_size}; wanted 1 or more an axis")
        self.stride = sizes("stride", ndim, stride)
        self.padding = sizes("padding", ndim, padding)
        self.dilation = sizes("dilation", ndim, dilation)
        self.output_padding = sizes("output_padding", ndim, output_padding)
        self.subm, self.transposed, self.inverse = subm, transposed, inverse
        taps = prod(self.kernel_size)
        self.conv1x1 = self._multiplies_rows(taps)
        self.indice_key, self.record_voxel_count = indice_key, record_voxel_count
        fast = taps <= (128 if large_kernel_fast_algo else 32)
        default = ConvAlgo.MaskImplicitGemm if fast else ConvAlgo.Native
        self.algo = default if algo is None else algo
        self.fp32_accum = fp32_accum
        self.weight_shape = [self.out_channels, *self.kernel_size, self.in_channels // groups]
        self.act_type, self.act_alpha, self.act_beta = act_type, act_alpha, act_beta
        self.scale, self.zero_point = 1.0, 0

    def _multiplies_rows(self, taps: int) -> bool:
        """Whether the layer is a matrix product of the features, without a rulebook."""
        one = taps == 1 and not self.inverse and self.groups == 1
        if self.subm or not one or prod(self.stride) != 1:
            return self.subm and one
        assert not any(self.padding), (
            f"padding is {self.padding}; padding must be zero for 1x1 conv (k=1,s=1)"
        )
        return True

    def is_inverseable(self) -> bool:
        """Whether an inverse convolution can lead back from this one's outputs."""
        return self.indice_key is not None and not self.subm


class SparseConvolution(SparseConvolutionBase, SparseModule):
    """A sparse convolution of any kind; arguments as SparseConvolutionBase has them.

    Args:
        name: under which its times are recorded.
        device, dtype: of the parameters.

    Attributes:
        weight: [C_out, *kernel_size, C_in/groups]; of a layer with one tap it is multiplied as it
            lies in memory, `x @ weight.view(C_in, C_out)`, which trained networks count on.
        bias: [C_out], or None.
    """

    __constants__ = [  # noqa: RUF012
        "stride",
        "padding",
        "dilation",
        "groups",
        "bias",
        "subm",
        "inverse",
        "transposed",
        "output_padding",
    ]

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis = 3,
        stride: PerAxis = 1,
        padding: PerAxis = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        subm: bool = False,
        output_padding: PerAxis = 0,
        transposed: bool = False,
        inverse: bool = False,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        record_voxel_count: bool = False,
        act_type: tv.gemm.Activation = tv.gemm.Activation.None_,
        act_alpha: float = 0,
        act_beta: float = 0,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        SparseModule.__init__(self, name=name)
        shape = (ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups)
        kind = (bias, subm, output_padding, transposed, inverse, indice_key, algo, fp32_accum)
        rest = (record_voxel_count, act_type, act_alpha, act_beta, large_kernel_fast_algo)
        SparseConvolutionBase.__init__(self, *shape, *kind, *rest)
        if self._records():
            most = torch.zeros(1, dtype=torch.int32, device=device)
            self.register_buffer(_MAX_NUM_VOXELS_DURING_TRAINING, most)
        self.weight = nn.Parameter(torch.zeros(*self.weight_shape, device=device, dtype=dtype))
        self.bias = None
        if bias:
            self.bias = nn.Parameter(torch.zeros(self.out_channels, device=device, dtype=dtype))
        self.reset_parameters()

    def _records(self) -> bool:
        return self.record_voxel_count and not self.subm and not self.inverse

    def get_max_num_voxels(self) -> Tensor | None:
        """[1] int32: the largest number of outputs seen, where it is recorded."""
        return getattr(self, _MAX_NUM_VOXELS_DURING_TRAINING, None)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, with the random numbers that upstream would draw."""
        fan_in = prod(self.weight_shape[1:])
        bound = sqrt(3.0) * (nn.init.calculate_gain("leaky_relu", sqrt(5)) / sqrt(fan_in))
        with torch.no_grad():
            self.weight.uniform_(-bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -1 / sqrt(fan_in), 1 / sqrt(fan_in))

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}",
            f"output_padding={self.output_padding}",
        ]
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        parts += ["bias=False"] if self.bias is None else []
        parts += [f"algo={self.algo}"] if self.algo is not None else []
        acts = self.act_type != tv.gemm.Activation.None_
        return ", ".join([*parts, *([f"act={self.act_type}"] if acts else [])])

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        """Take a weight in any layout that spconv has stored it in."""
        # nn.Module's own is called by name: frameworks put theirs into SparseModule, which turns
        # weights once more.
        most = prefix + _MAX_NUM_VOXELS_DURING_TRAINING
        if self._records() and most not in state_dict:
            state_dict[most] = torch.zeros(1, dtype=torch.int32)
        if (weight := state_dict.get(prefix + "weight")) is not None:
            state_dict[prefix + "weight"] = self._laid_out(weight, local_metadata, rest[-1])
        nn.Module._load_from_state_dict(self, state_dict, prefix, local_metadata, *rest)

    def _load_weight_different_layout(self, *_: Any) -> None:
        """Nothing: whole layers that spconv itself has pickled ask for a hook of this name."""

    def _laid_out(self, weight: Tensor, metadata: dict, errors: list) -> Tensor:
        said = constants.SAVED_WEIGHT_LAYOUT or None
        if said is None and metadata.get("version") == 2:
            said = "KRSC"  # what frameworks that know of layouts write into their checkpoints
        out_channels, *kernel_size, in_channels = self.weight_shape
        shape = weights.WeightShape(out_channels, tuple(kernel_size), in_channels, self.conv1x1)
        return weights.LOAD.take(self, weight, shape, errors, said, "KRSC")

    def forward(self, input: SparseConvTensor, add_input: SparseConvTensor | None = None):
        """[N, C_in] -> [M, C_out], plus the features of `add_input` before the activation."""
        if not isinstance(input, SparseConvTensor):
            raise TypeError(f"input is a {type(input).__name__}; wanted a SparseConvTensor")
        with timed(input, self._sparse_unique_name):
            return outside_graphs(self._convolved, input, add_input)

    def _joined(self, input: SparseConvTensor, links: Sequence[nn.Module]):
        then, taken = None, 1
        if type(self).forward is _FORWARD and is_bare(self):
            tail = Tail.of(links, self.out_channels)
            if (then := self._last_steps(input, tail)) is not None:
                taken += tail.length
        if then is None:
            return self(input), 1
        return outside_graphs(self._convolved, input, None, then), taken

    def _last_steps(self, x: SparseConvTensor, tail: Tail) -> Epilogue | None:
        """A batch norm and an activation as the end of this convolution, where they can be."""
        measured = x.benchmark or x._timer.enable
        if measured or self.conv1x1 or number(self.act_type) != NONE:
            return None
        if self.subm and x._place().sites.rows.repeat:
            return None
        held = x._values.at_hand
        (like,) = in_autocast_dtype(held)
        return tail.as_epilogue(self.bias, like.dtype, held, self.weight)

    @located
    def _convolved(
        self, x: SparseConvTensor, add: SparseConvTensor | None, then: Epilogue | None = None
    ) -> SparseConvTensor:
        came = x._values.at_hand.shape[1]
        assert came == self.in_channels, (
            f"channel size mismatch: the input has {came} channels; this layer was built for "
            f"{self.in_channels}"
        )
        if self.conv1x1 or self._undoes_nothing(x):
            return self._activated(self._rows_multiplied(x), add)
        if not x.benchmark:
            return self._through(x, self._route(x), add, then)
        about = {"type": "SparseConvolution", "params": self._about()}
        return recorded(x, self.name, about, self._route, lambda x, to: self._through(x, to, add))

    def _undoes_nothing(self, x: SparseConvTensor) -> bool:
        """Whether this goes back with one tap where a layer with one tap left the sites alone."""
        one = self.inverse and prod(self.kernel_size) == 1 and self.groups == 1
        return one and x.find_indice_pair(self.indice_key) is None

    def _about(self) -> dict[str, Any]:
        names = "kernel_size stride padding dilation output_padding subm transposed".split()
        about = {name: getattr(self, name) for name in names}
        return {**about, "input_channels": self.in_channels, "out_channels": self.out_channels}

    def _rows_multiplied(self, x: SparseConvTensor) -> SparseConvTensor:
        weight = self.weight.view(self.in_channels, self.out_channels)
        place = x._place()
        rows = place.sites.rows
        if self.weight.device.type != "cpu" or rows.repeat:
            rows.check(x.features)
            new = x.replace_feature(functional.linear(x.features, weight.t(), self.bias))
        else:
            rulebook = place.sites.coords.rulebook(ONE_TAP[self.ndim])
            y = multiply(x._values.onto(rows, "first"), rulebook, weight.unsqueeze(0), self.bias)
            new = x._written(y, rows, place)
        if self.transposed:
            new.spatial_shape = self._grown(x.spatial_shape)
        return new

    def _grown(self, shape: list[int]) -> list[int]:
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation, self.output_padding)
        return ops.get_deconv_output_size(shape, *sizes)

    def _route(self, x: SparseConvTensor) -> Route:
        data = x.find_indice_pair(self.indice_key)
        if self.inverse:
            return routing.back(x, self, data)
        if data is not None:
            return routing.again(x, self, data)
        if self.subm:
            return routing.new(x, self, routing.geometry_of(self, "submanifold"))
        if not self.transposed:
            return routing.new(x, self, routing.geometry_of(self, "regular"))
        bound = tuple(self._grown(x.spatial_shape))
        return routing.new(x, self, routing.geometry_of(self, "generative"), bound)

    def _through(
        self,
        x: SparseConvTensor,
        route: Route,
        add: SparseConvTensor | None,
        then: Epilogue | None = None,
    ) -> SparseConvTensor:
        link, target, indice_dict = route
        values = x._values.onto(link.source, "first" if link.submanifold else "sum")
        alone = link.submanifold and link.source.repeat
        if then is None and add is None and not alone:
            then = self._activation(values)
        weight = self._native_weight(link)
        y = link.convolve(values, weight, self.bias, self.groups, then)
        new = x._written(y, link.target, target)
        new.indice_dict = indice_dict
        if self.record_voxel_count:
            keep_maximum(self.get_max_num_voxels(), len(target))
        if alone:
            later, more = link.seen_alone(x.features, weight, self.groups)
            new = new.replace_feature(new.features.index_add(0, later, more))
        return self._activated(new, add) if then is None else new

    def _native_weight(self, link: Link) -> Tensor:
        """[K, C_in/groups, C_out]: the weight of each tap of `link`."""
        return weights.native(self.weight)

    def _activation(self, values: Tensor) -> Epilogue | None:
        """The activation as the end of this convolution, where it can be."""
        act = number(self.act_type)
        if act not in FUSED or wants_gradient(values, self.weight, self.bias):
            return None
        return Epilogue(shift=self.bias, activation=FUSED[act], slope=self.act_alpha)

    def _activated(self, x: SparseConvTensor, add: SparseConvTensor | None) -> SparseConvTensor:
        if add is not None:
            x = x + add
        if number(self.act_type) == NONE:
            return x
        return x.replace_feature(activate(x.features, self.act_type, self.act_alpha))


# As written here: programs that trace or calibrate put theirs into the class.
_FORWARD = SparseConvolution.forward
