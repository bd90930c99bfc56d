"""Pooling: over a kernel, back onto finer sites, and over whole samples."""

from torch import Tensor

from gossamer.compat.coordmaps.key import CoordinateMapKey
from gossamer.compat.coordmaps.kinds import PoolingMode
from gossamer.compat.layers.graphs import outside_graphs
from gossamer.compat.layers.passing import pooled
from gossamer.compat.minkowski.MinkowskiCommon import MinkowskiModuleBase, StrideType
from gossamer.compat.minkowski.MinkowskiConvolution import (
    Onto,
    check_input,
    said_of,
    stride_after,
    where_to,
)
from gossamer.compat.minkowski.MinkowskiCoordinateManager import CoordinateManager
from gossamer.compat.minkowski.MinkowskiKernelGenerator import KernelGenerator, generator_for
from gossamer.compat.minkowski.MinkowskiSparseTensor import (
    SparseTensor,
    _get_coordinate_map_key,
)
from gossamer.compat.minkowski.MinkowskiTensorField import TensorField
from gossamer.compat.rows.values import Values
from gossamer.nn.located import located
from gossamer.rulebook import Rulebook


class MinkowskiLocalPoolingFunction:
    """A pooling of a matrix of features, by keys."""

    _upwards = False

    @classmethod
    def apply(
        cls,
        input_features: Tensor,
        pooling_mode: PoolingMode,
        kernel_generator: KernelGenerator,
        in_coordinate_map_key: CoordinateMapKey,
        out_coordinate_map_key: CoordinateMapKey | None = None,
        coordinate_manager: CoordinateManager | None = None,
    ) -> Tensor:
        """[M, C], on the rows of the output's key.

        Args:
            input_features: [N, C], on the rows of the input's key.
            pooling_mode: one of the local ones.
            kernel_generator: the kernel.
            in_coordinate_map_key: the input's.
            out_coordinate_map_key: the output's; one without a name gets it.
            coordinate_manager: of both.
        """
        assert coordinate_manager is not None, "wanted the coordinate_manager of the keys"
        key = out_coordinate_map_key
        key = CoordinateMapKey(in_coordinate_map_key.get_coordinate_size()) if key is None else key
        source, how = in_coordinate_map_key.name, cls._how(pooling_mode)
        target = where_to(coordinate_manager, source, kernel_generator, key, upwards=cls._upwards)
        kernel = kernel_generator._kernel
        link = coordinate_manager._atlas.pooling(source, target, kernel, upwards=cls._upwards)
        return pooled(Values(input_features), link, how).on_rows

    @classmethod
    def _how(cls, mode: PoolingMode) -> str:
        return mode.reduction


class MinkowskiLocalPoolingTransposeFunction(MinkowskiLocalPoolingFunction):
    """The same backwards: the sum of what reaches a site, whatever the mode."""

    _upwards = True

    @classmethod
    def _how(cls, mode: PoolingMode) -> str:
        return "sum"


class MinkowskiPoolingBase(MinkowskiModuleBase):
    """What the local pooling layers share.

    Args:
        kernel_size, stride, dilation: one int or D; with a kernel generator they say nothing.
        kernel_generator: the kernel.
        is_transpose: whether outputs are the fine side.
        pooling_mode: one of the local ones.
        dimension: D.

    A box as large as the stride sends each site to the cell it lies in, also where it is odd.
    """

    def __init__(
        self,
        kernel_size: StrideType,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        kernel_generator: KernelGenerator | None = None,
        is_transpose: bool = False,
        pooling_mode: PoolingMode = PoolingMode.LOCAL_AVG_POOLING,
        dimension: int = -1,
    ):
        super().__init__()
        sizes = kernel_size, stride, dilation
        kernel_generator = generator_for(kernel_generator, *sizes, dimension)
        self.is_transpose, self.kernel_generator = is_transpose, kernel_generator
        self.pooling_mode, self.dimension = pooling_mode, dimension
        kind = (MinkowskiLocalPoolingFunction, MinkowskiLocalPoolingTransposeFunction)[is_transpose]
        self.pooling = kind()

    def forward(self, input: SparseTensor, coordinates: Onto = None) -> SparseTensor:
        """[N, C] -> [M, C].

        Args:
            input: the features.
            coordinates: the sites of the output, [M, 1+D] int, or a key, or a tensor on them.
                Default: where the kernel leads.

        Raises:
            TypeError, ValueError: the input is not what the layer was made for.
        """
        return outside_graphs(self._pooled, input, coordinates)

    @located
    def _pooled(self, x: SparseTensor, coordinates: Onto) -> SparseTensor:
        check_input(x, self.dimension)
        stride = stride_after(x, self.kernel_generator, self.is_transpose)
        key = _get_coordinate_map_key(x, coordinates, stride)
        source, generator = x.coordinate_map_key.name, self.kernel_generator
        target = where_to(x._manager, source, generator, key, upwards=self.is_transpose)
        atlas, kernel = x._manager._atlas, generator._kernel
        link = atlas.pooling(source, target, kernel, upwards=self.is_transpose)
        return x._moved(pooled(x._values, link, self.pooling._how(self.pooling_mode)), target)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({said_of(self.kernel_generator)}"


class MinkowskiAvgPooling(MinkowskiPoolingBase):
    """The mean over the sites that a kernel sees; empty places do not count."""

    def __init__(
        self,
        kernel_size: StrideType = -1,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        kernel_generator: KernelGenerator | None = None,
        dimension: int | None = None,
    ):
        mode = PoolingMode.LOCAL_AVG_POOLING
        shape = (kernel_size, stride, dilation, kernel_generator)
        super().__init__(*shape, pooling_mode=mode, dimension=dimension)  # type: ignore[arg-type]


class MinkowskiSumPooling(MinkowskiPoolingBase):
    """The sum over the sites that a kernel sees."""

    def __init__(
        self,
        kernel_size: StrideType,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        kernel_generator: KernelGenerator | None = None,
        dimension: int | None = None,
    ):
        mode = PoolingMode.LOCAL_SUM_POOLING
        shape = (kernel_size, stride, dilation, kernel_generator)
        super().__init__(*shape, pooling_mode=mode, dimension=dimension)  # type: ignore[arg-type]


class MinkowskiMaxPooling(MinkowskiPoolingBase):
    """The largest value a channel that a kernel sees, also where all are negative."""

    def __init__(
        self,
        kernel_size: StrideType,
        stride: StrideType = 1,
        dilation: StrideType = 1,
        kernel_generator: KernelGenerator | None = None,
        dimension: int | None = None,
    ):
        mode = PoolingMode.LOCAL_MAX_POOLING
        shape = (kernel_size, stride, dilation, kernel_generator)
        super().__init__(*shape, pooling_mode=mode, dimension=dimension)  # type: ignore[arg-type]


class MinkowskiPoolingTranspose(MinkowskiPoolingBase):
    """Pooling backwards: each site is the sum of the coarse ones whose kernel reaches it.

    With kernels that do not overlap, a copy of its one coarse site. Outputs are those of a
    transposed convolution.
    """

    def __init__(
        self,
        kernel_size: StrideType,
        stride: StrideType,
        dilation: StrideType = 1,
        kernel_generator: KernelGenerator | None = None,
        expand_coordinates: bool = False,
        dimension: int | None = None,
    ):
        shape = (kernel_size, stride, dilation, kernel_generator)
        super().__init__(*shape, is_transpose=True, dimension=dimension)  # type: ignore[arg-type]
        if kernel_generator is None:
            self.kernel_generator.expand_coordinates = expand_coordinates


class MinkowskiGlobalPoolingFunction:
    """A pooling of whole samples, by keys."""

    @staticmethod
    def apply(
        input_features: Tensor,
        pooling_mode: PoolingMode,
        in_coordinate_map_key: CoordinateMapKey,
        out_coordinate_map_key: CoordinateMapKey | None = None,
        coordinate_manager: CoordinateManager | None = None,
    ) -> Tensor:
        """[B, C], on the rows of the output's key, which are samples.

        Args:
            input_features: [N, C], on the rows of the input's key, of a map or else a field.
            pooling_mode: one of the global ones.
            in_coordinate_map_key: the input's.
            out_coordinate_map_key: the output's; one without a name gets that of the origin.
            coordinate_manager: of both.
        """
        assert coordinate_manager is not None, "wanted the coordinate_manager of the keys"
        manager, source = coordinate_manager, in_coordinate_map_key.name
        key = out_coordinate_map_key
        key = CoordinateMapKey(manager.D + 1) if key is None else key
        how, values = pooling_mode.reduction, Values(input_features)
        # A map and a field may have the same name; then the number of rows says which is meant.
        maps, fields = manager._atlas.maps, manager._atlas.fields
        counts = [len(kept[source]) if source in kept else -1 for kept in (maps, fields)]
        field = counts[0] != len(input_features) == counts[1]
        return _over_samples(values, how, manager, source, key, field=field).on_rows


def _over_samples(
    values: Values,
    how: str,
    manager: CoordinateManager,
    source: tuple,
    key: CoordinateMapKey,
    *,
    field: bool,
) -> Values:
    atlas = manager._atlas
    if not key.is_key_set():
        key.set_key(*atlas.origin())
    link = (atlas.field_samples if field else atlas.samples)(source, key.name)
    return pooled(values, link, how)


class MinkowskiGlobalPooling(MinkowskiModuleBase):
    """One row a sample, at the origin.

    Args:
        mode: one of the global ones.

    Samples are those that have rows in some map of the manager; one that has none here is 0.

    Raises:
        AssertionError: mode is no PoolingMode.
    """

    def __init__(self, mode: PoolingMode = PoolingMode.GLOBAL_AVG_POOLING_PYTORCH_INDEX):
        super().__init__()
        assert isinstance(mode, PoolingMode), f"mode is {mode!r}; wanted a PoolingMode"
        self.pooling_mode = mode
        self.pooling = MinkowskiGlobalPoolingFunction()

    def forward(self, input: SparseTensor | TensorField, coordinates: Onto = None) -> SparseTensor:
        """[N, C] -> [B, C].

        Args:
            input: a SparseTensor or a TensorField.
            coordinates: the rows of the output. Default: the origin, one row a sample.

        Raises:
            TypeError: the input is neither.
        """
        return outside_graphs(self._pooled, input, coordinates)

    @located
    def _pooled(self, x: SparseTensor | TensorField, coordinates: Onto) -> SparseTensor:
        if not isinstance(x, (SparseTensor, TensorField)):
            raise TypeError(f"input is a {type(x).__name__}; wanted a SparseTensor or TensorField")
        key = _get_coordinate_map_key(x, coordinates, 0)  # type: ignore[arg-type]
        how, field = self.pooling_mode.reduction, isinstance(x, TensorField)
        name = x.coordinate_key.name
        values = _over_samples(x._values, how, x._manager, name, key, field=field)
        return SparseTensor._moved(x, values, key.name)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mode={self.pooling_mode})"


class MinkowskiGlobalSumPooling(MinkowskiGlobalPooling):
    """The sum over the sites of each sample."""

    def __init__(self, mode: PoolingMode = PoolingMode.GLOBAL_SUM_POOLING_PYTORCH_INDEX):
        super().__init__(mode)


class MinkowskiGlobalAvgPooling(MinkowskiGlobalPooling):
    """The mean over the sites of each sample."""

    def __init__(self, mode: PoolingMode = PoolingMode.GLOBAL_AVG_POOLING_PYTORCH_INDEX):
        super().__init__(mode)


class MinkowskiGlobalMaxPooling(MinkowskiGlobalPooling):
    """The largest value a channel of each sample."""

    def __init__(self, mode: PoolingMode = PoolingMode.GLOBAL_MAX_POOLING_PYTORCH_INDEX):
        super().__init__(mode)


class MinkowskiDirectMaxPoolingFunction:
    """The largest value a channel of rows that the caller lists."""

    @staticmethod
    def apply(
        in_map: Tensor, out_map: Tensor, in_feat: Tensor, out_nrows: int, is_sorted: bool = False
    ) -> Tensor:
        """[out_nrows, C]: of each output the largest of its inputs, 0 where it has none.

        Args:
            in_map: [P] int, the input row of each pair.
            out_map: [P] int, its output row.
            in_feat: [N, C].
            out_nrows: how many output rows there are.
            is_sorted: taken and not needed.

        Raises:
            ValueError: the maps differ in length, or name rows that there are not.
        """
        rows = len(in_feat), out_nrows
        if in_map.shape != out_map.shape or in_map.ndim != 1:
            raise ValueError(
                f"in_map is {tuple(in_map.shape)} and out_map {tuple(out_map.shape)}; wanted one "
                "number a pair in both"
            )
        source, target = in_map.long(), out_map.long()
        for name, index, count in (("in_map", source, rows[0]), ("out_map", target, rows[1])):
            if len(index) and not 0 <= int(index.min()) <= int(index.max()) < count:
                raise ValueError(f"{name} names rows outside 0 to {count - 1}")
        order = (target * max(1, rows[0]) + source).argsort()
        rulebook = Rulebook.sending(source[order], target[order], out_nrows, rows[0])
        return rulebook.reduce(in_feat, "max")
