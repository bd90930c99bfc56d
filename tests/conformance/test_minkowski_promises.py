"""What MinkowskiEngine's documentation says of layers, each against sums over a dictionary.

Its terms, guides, examples and docstrings promise it of `import MinkowskiEngine as ME`, whichever
library that name means in this process.
"""

import pytest
import torch
from torch import Tensor, nn

from tests.conformance.scenes import dice, features, voxels
from tests.conformance.windows import (
    Sites,
    assert_same,
    box,
    convolved,
    moved,
    rounded,
    seen,
    sites,
    spread,
)

ME = pytest.importorskip("MinkowskiEngine")

SHAPES = {1: (40,), 2: (16, 16), 3: (12, 12, 12), 4: (12,) * 4}
POOLINGS = {"Sum": lambda x: x.sum(0), "Avg": lambda x: x.mean(0), "Max": lambda x: x.amax(0)}
ACTIVATIONS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "SiLU": "silu",
}


def scene(ndim: int = 2, channels: int = 3, stride: int = 1, seed: int = 0):
    """A tensor of two samples, negative coordinates too, in no order."""
    places = voxels(SHAPES[ndim], 10, seed=seed)
    places[:, 1:] = (places[:, 1:] - 2) * stride
    rows = features(len(places), channels, seed) - 0.5
    return ME.SparseTensor(rows, coordinates=places, tensor_stride=stride)


def at(x) -> Sites:
    return sites(x.C, x.F.detach())


def beside(x, seed: int = 1):
    """A tensor on other coordinates, some of which `x` has too, of the same manager."""
    places = torch.cat([x.C[:8], x.C[8:12] + torch.tensor([0] + [30] * x.D)]).int()
    return ME.SparseTensor(
        features(12, x.F.shape[1], seed), places, coordinate_manager=x.coordinate_manager
    )


def convolution(size: int, stride: int = 1, ndim: int = 2, **options):
    torch.manual_seed(0)
    return ME.MinkowskiConvolution(3, 4, size, stride, dimension=ndim, **options)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("size", [2, 3])
def test_a_convolution_of_stride_1_sums_over_the_sites_that_are_there(size, ndim, dilation):
    """An odd kernel lies around a site, an even one reaches from it to K - 1."""
    x, layer = scene(ndim), convolution(size, ndim=ndim, dilation=dilation, bias=True)
    nn.init.normal_(layer.bias)
    y = layer(x)
    wanted = convolved(at(x), at(x), box(size, ndim, dilation), layer.kernel)
    assert_same(at(y), {site: f + layer.bias.detach()[0] for site, f in wanted.items()})
    assert y.coordinate_map_key == x.coordinate_map_key


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 3), (5, 2)])
def test_a_strided_convolution_rounds_coordinates_down_to_multiples(size, stride, ndim):
    x, layer = scene(ndim), convolution(size, stride, ndim)
    targets = {rounded(site, stride) for site in at(x)}
    assert_same(at(layer(x)), convolved(at(x), targets, box(size, ndim), layer.kernel))


@pytest.mark.parametrize("first", [1, 3])
def test_the_tensor_stride_grows_by_the_stride_of_every_layer(first):
    x, net = scene(stride=first), nn.Sequential(*(ME.MinkowskiSumPooling(2, 2, dimension=2),) * 3)
    sizes = [first * 2**k for k in range(4)]
    for layer, size in zip([nn.Identity(), *net], sizes, strict=True):
        x = layer(x)
        assert x.tensor_stride == [size] * 2
        assert not (x.C[:, 1:] % size).any()


def test_an_offset_counts_in_tensor_strides():
    x, layer = scene(stride=4), convolution(3)
    assert_same(at(layer(x)), convolved(at(x), at(x), box(3, 2, 4), layer.kernel))


def test_a_stride_may_differ_by_axis():
    y = ME.MinkowskiSumPooling([2, 1], [2, 1], dimension=2)(scene())
    assert y.tensor_stride == [2, 1]
    assert {(b, i // 2 * 2, j) for b, i, j in at(scene())} == at(y).keys()


@pytest.mark.parametrize("ndim", [2, 3])
def test_where_every_site_is_there_it_is_the_dense_convolution(ndim):
    dense = torch.randn(2, 3, *(5,) * ndim, generator=dice())
    layer = convolution(3, ndim=ndim)
    y, *_ = layer(ME.to_sparse_all(dense)).dense(shape=torch.Size([2, 4, *(5,) * ndim]))
    weight = layer.kernel.detach().permute(2, 1, 0).unflatten(2, (3,) * ndim)
    weight = weight.transpose(2, -1)  # axis 0 counts fastest
    conv = nn.functional.conv2d if ndim == 2 else nn.functional.conv3d
    torch.testing.assert_close(y, conv(dense, weight, padding=1), rtol=1e-4, atol=1e-5)


def test_samples_of_a_batch_do_not_see_each_other():
    x, layer = scene(), convolution(3, 2)
    for number in (0, 1):
        places, rows = x.coordinates_and_features_at(number)
        alone = layer(ME.SparseTensor(rows, ME.utils.batched_coordinates([places])))
        part = {(0, *site[1:]): f for site, f in at(layer(x)).items() if site[0] == number}
        assert_same(at(alone), part)


def test_a_kernel_of_1_is_a_linear_layer():
    x, layer = scene(), convolution(1)
    torch.testing.assert_close(layer(x).F, x.F @ layer.kernel)


def test_expand_coordinates_gives_kernel_shape_times_input():
    x, layer = scene(), convolution(3, expand_coordinates=True)
    targets = {moved(site, offset) for site in at(x) for offset in box(3, 2)}
    assert_same(at(layer(x)), convolved(at(x), targets, box(3, 2), layer.kernel))


@pytest.mark.parametrize("way", ["tensor", "key", "SparseTensor"])
def test_a_convolution_onto_given_coordinates_gives_results_there(way):
    x, layer = scene(), convolution(3)
    z = beside(x)
    given = {"tensor": z.C, "key": z.coordinate_map_key, "SparseTensor": z}[way]
    assert_same(at(layer(x, given)), convolved(at(x), at(z), box(3, 2), layer.kernel))


def test_a_kernel_generator_comes_before_the_layers_own_kernel():
    shape = ME.KernelGenerator(kernel_size=2, stride=2, dimension=2)
    layer = convolution(3, kernel_generator=shape)
    x, targets = scene(), {rounded(site, 2) for site in at(scene())}
    assert_same(at(layer(x)), convolved(at(x), targets, box(2, 2), layer.kernel))


def test_a_custom_region_has_the_given_offsets():
    offsets = [(0, 0), (1, 0), (-2, 1)]
    shape = ME.KernelGenerator(
        region_type=ME.RegionType.CUSTOM, region_offsets=torch.IntTensor(offsets), dimension=2
    )
    x, layer = scene(), convolution(-1, kernel_generator=shape)
    assert_same(at(layer(x)), convolved(at(x), at(x), offsets, layer.kernel))


def test_a_channelwise_convolution_weights_each_channel_alone():
    x, layer = scene(), ME.MinkowskiChannelwiseConvolution(3, 3, dimension=2)
    kernel = torch.diag_embed(layer.kernel)
    assert_same(at(layer(x)), convolved(at(x), at(x), box(3, 2), kernel))


@pytest.mark.parametrize("size", [2, 3])
def test_a_transposed_convolution_goes_back_to_the_finer_sites(size):
    x = scene()
    down = convolution(size, 2)(x)
    layer = ME.MinkowskiConvolutionTranspose(4, 3, size, 2, dimension=2)
    y = layer(down)
    assert y.tensor_stride == [1, 1] and y.coordinate_map_key == x.coordinate_map_key
    assert_same(at(y), spread(at(down), at(x), box(size, 2), layer.kernel))


@pytest.mark.parametrize("size", [2, 3])
def test_a_generative_convolution_makes_new_coordinates(size):
    x = scene(stride=2)
    layer = ME.MinkowskiGenerativeConvolutionTranspose(3, 4, size, 2, dimension=2)
    y = layer(x)
    targets = {moved(site, offset) for site in at(x) for offset in box(size, 2)}
    assert y.tensor_stride == [1, 1]
    assert_same(at(y), spread(at(x), targets, box(size, 2), layer.kernel))


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (3, 2)])
def test_pooling_is_over_the_sites_that_are_there(name, size, stride):
    """So an average is divided by their number, not by the kernel's volume."""
    x, layer = scene(), getattr(ME, f"Minkowski{name}Pooling")(size, stride, dimension=2)
    targets = {rounded(site, stride) for site in at(x)}
    wanted = {}
    for target in targets:
        if window := seen(at(x), target, box(size, 2)):
            wanted[target] = POOLINGS[name](torch.stack(window))
    assert len(wanted) == len(targets)
    assert_same(at(layer(x)), wanted)


@pytest.mark.parametrize("name", POOLINGS)
def test_unpooling_gives_each_site_what_its_window_was_pooled_to(name):
    x = scene()
    down = getattr(ME, f"Minkowski{name}Pooling")(2, 2, dimension=2)(x)
    y = ME.MinkowskiPoolingTranspose(2, 2, dimension=2)(down)
    assert_same(at(y), {site: at(down)[rounded(site, 2)] for site in at(x)})


@pytest.mark.parametrize("name", POOLINGS)
def test_global_pooling_gives_one_row_a_sample_at_the_origin(name):
    x, layer = scene(), getattr(ME, f"MinkowskiGlobal{name}Pooling")()
    wanted = {(b, 0, 0): POOLINGS[name](x.features_at(b)) for b in (0, 1)}
    assert_same(at(layer(x)), wanted)


@pytest.mark.parametrize("name", ["Addition", "Multiplication", "Concatenation", ""])
def test_a_broadcast_takes_a_samples_row_to_each_of_its_sites(name):
    x = scene()
    pooled = ME.MinkowskiGlobalSumPooling()(x)
    row = torch.stack([x.features_at(b).sum(0) for b in (0, 1)])[x.C[:, 0].long()]
    wanted = {
        "Addition": x.F + row,
        "Multiplication": x.F * row,
        "Concatenation": torch.cat([x.F, row], 1),
        "": row,
    }[name]
    y = getattr(ME, f"MinkowskiBroadcast{name}")()(x, pooled)
    assert_same(at(y), sites(x.C, wanted))


def test_pruning_keeps_what_the_mask_says():
    x = scene()
    mask = torch.rand(len(x), generator=dice()) < 0.5
    assert_same(at(ME.MinkowskiPruning()(x, mask)), sites(x.C[mask], x.F[mask]))
    assert len(ME.MinkowskiPruning()(x, torch.zeros_like(mask))) == 0


def test_a_union_adds_features_where_coordinates_overlap():
    x = scene()
    z = beside(x)
    wanted = {
        site: at(x).get(site, torch.zeros(3)) + at(z).get(site, torch.zeros(3))
        for site in at(x).keys() | at(z).keys()
    }
    assert_same(at(ME.MinkowskiUnion()(x, z)), wanted)
    assert_same(at(x + z), wanted)


def test_a_batch_norm_is_that_of_torch_over_all_sites():
    x = scene()
    torch.testing.assert_close(ME.MinkowskiBatchNorm(3)(x).F, nn.BatchNorm1d(3)(x.F))


def test_an_instance_norm_is_over_the_sites_of_each_sample():
    x = scene()
    for rows in ME.MinkowskiInstanceNorm(3)(x).decomposed_features:
        torch.testing.assert_close(rows.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(rows.var(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("name", "function"), ACTIVATIONS.items())
def test_an_activation_is_that_of_torch_on_features(name, function):
    x, options = scene(), {"dim": 1} if name == "Softmax" else {}
    wanted = getattr(nn, name)(**options)(x.F)
    layer = getattr(ME, f"Minkowski{name}")(**options)
    for y in (layer(x), getattr(ME.MinkowskiFunctional, function)(x, **options)):
        torch.testing.assert_close(y.F, wanted)
        assert y.coordinate_map_key == x.coordinate_map_key


def test_layers_of_one_stride_share_coordinates_and_can_be_concatenated():
    x = scene()
    y, z = convolution(3, 2)(x), ME.MinkowskiMaxPooling(2, 2, dimension=2)(x)
    assert y.coordinate_map_key == z.coordinate_map_key
    assert torch.equal(ME.cat(y, z).F, torch.cat([y.F, z.F], 1))


@pytest.mark.parametrize("name", ["Cat", "Sum", "Mean", "Var"])
def test_a_stack_joins_what_its_branches_give(name):
    x, branches = scene(), [convolution(3), convolution(1)]
    y = getattr(ME, f"MinkowskiStack{name}")(*branches)(x)
    rows = [branch(x).F for branch in branches]
    joined = {
        "Cat": torch.cat(rows, 1),
        "Sum": sum(rows),
        "Mean": sum(rows) / 2,
        "Var": torch.stack(rows).var(0, correction=0),
    }
    torch.testing.assert_close(y.F, joined[name])


class Example(ME.MinkowskiNetwork):
    """A classifier such as the README's first."""

    def __init__(self) -> None:
        super().__init__(2)
        stages = [
            (ME.MinkowskiConvolution(a, b, 3, 2, dimension=2), ME.MinkowskiBatchNorm(b))
            for a, b in ((3, 8), (8, 16))
        ]
        self.net = nn.Sequential(*(layer for stage in stages for layer in stage))
        self.pooling = ME.MinkowskiGlobalPooling()
        self.linear = ME.MinkowskiLinear(16, 5)

    def forward(self, x) -> Tensor:
        return self.linear(self.pooling(ME.MinkowskiReLU()(self.net(x)))).F


def test_a_network_of_its_layers_learns():
    torch.manual_seed(0)
    net, labels = Example(), torch.tensor([1, 3])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(net(scene()), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.any() for p in net.linear.parameters())
    assert losses[-1] < losses[0] / 2
