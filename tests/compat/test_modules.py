"""Containers, tables and the modules that act on features."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

import gossamer.compat.spconv.pytorch as spconv
from gossamer.compat.spconv.pytorch.modules import (
    PrintCurrentTime,
    PrintTensorMeta,
    SparseSyncBatchNorm,
    is_sparse_conv,
    is_spconv_module,
)
from gossamer.compat.spconv.pytorch.spatial import RemoveDuplicate
from gossamer.compat.spconv.pytorch.tables import AddTableMisaligned
from tests.compat.rows import ORDERS, first_rows, summed, tensor


class Doubled(nn.BatchNorm1d):
    """A class of somebody's own is called, and not taken for what it derives from."""

    def forward(self, input):
        return 2 * super().forward(input)


class Centred(nn.Module):
    """A module for which the order of rows matters."""

    def forward(self, features):
        return features - features.cumsum(0) / len(features)


def hooked() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(6)
    norm.register_forward_hook(lambda module, inputs, output: output.cumsum(0) / len(output))
    return norm


AFTER = {
    "norm": lambda: [nn.BatchNorm1d(6)],
    "norm and activation": lambda: [nn.BatchNorm1d(6), nn.ReLU()],
    "norm and slope": lambda: [nn.BatchNorm1d(6, eps=1e-3, momentum=0.01), nn.LeakyReLU(0.2)],
    "norm in place": lambda: [nn.BatchNorm1d(6), nn.ReLU(inplace=True)],
    "norm without parameters": lambda: [nn.BatchNorm1d(6, affine=False), nn.GELU()],
    "norm without statistics": lambda: [nn.BatchNorm1d(6, track_running_stats=False)],
    "activation": lambda: [nn.ReLU(), nn.BatchNorm1d(6)],
    "layer norm": lambda: [nn.LayerNorm(6), nn.SiLU()],
    "linear": lambda: [nn.Linear(6, 6), nn.BatchNorm1d(6)],
    "a class of one's own": lambda: [Doubled(6), nn.ReLU()],
    "order": lambda: [Centred(), nn.ReLU()],
    "hook": lambda: [hooked(), nn.ReLU()],
    "sparse classes": lambda: [spconv.SparseBatchNorm(6), spconv.SparseReLU()],
    "identity": lambda: [spconv.Identity(), nn.Identity(), nn.BatchNorm1d(6)],
    "a chain": lambda: [nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())],
}


def by_hand(net: spconv.SparseSequential, x: spconv.SparseConvTensor) -> spconv.SparseConvTensor:
    """What the modules of `net` make of `x`, one after the other."""
    for module in net._modules.values():
        if is_spconv_module(module):
            x = module(x)
        else:
            x = x.replace_feature(module(x.features))
    return x


def seeded(net: nn.Module) -> nn.Module:
    """The network with parameters and statistics that are not their first ones."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if "var" in name else value.normal_()
    return net


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", ["train", "eval", "no gradients"])
@pytest.mark.parametrize("after", AFTER)
def test_a_sequence_is_its_modules_one_after_the_other(after, mode, order):
    x = tensor(3, 60, 4, order, dtype=torch.float64)
    nets = []
    for _ in range(2):
        net = spconv.SparseSequential(
            spconv.SubMConv3d(4, 6, 3, indice_key="fine"), *AFTER[after](),
            spconv.SparseConv3d(6, 6, 3, 2, 1, indice_key="down"), *AFTER[after](),
            spconv.SubMConv3d(6, 6, 1), *AFTER[after](),
            spconv.SparseInverseConv3d(6, 6, 3, "down"), *AFTER[after](),
            spconv.SparseConv3d(6, 6, 3, 1, 1), *AFTER[after](),
        )  # fmt: skip
        nets.append(seeded(net.double()).train(mode == "train"))
    leaves = [x.features.clone().requires_grad_() for _ in nets]
    with torch.set_grad_enabled(mode != "no gradients"):
        y = nets[0](x.replace_feature(leaves[0]))
        expected = by_hand(nets[1], x.replace_feature(leaves[1]))
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert torch.equal(y.indices, expected.indices)
    torch.testing.assert_close(y.features, expected.features, **close)
    for ours, wanted in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        torch.testing.assert_close(ours, wanted, **close)  # running statistics
    if mode == "no gradients":
        return
    cotangent = torch.randn_like(y.features)
    y.features.backward(cotangent)
    expected.features.backward(cotangent)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-7, atol=1e-7)
    for ours, wanted in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(ours.grad, wanted.grad, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("order", ORDERS)
def test_dropout_draws_its_numbers_for_rows_in_the_callers_order(order):
    x = tensor(3, 60, 4, order)
    net = spconv.SparseSequential(spconv.SubMConv3d(4, 6, 3), nn.Dropout(0.5))
    plain = net[0](x).features
    torch.manual_seed(5)
    y = net(x).features
    torch.manual_seed(5)
    assert torch.equal(y, nn.functional.dropout(plain, 0.5))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_what_passes_between_modules_may_be_looked_at(mode):
    net = spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), spconv.SubMConv3d(6, 6, 3)
    )
    seeded(net).train(mode == "train")
    x, seen = tensor(3, 60, 4), []
    with torch.no_grad():
        expected = net.eval()(x)
        net.train(mode == "train")
        net[0].register_forward_hook(lambda module, inputs, y: seen.append(y.features.clone()))
        net[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
        y = net(x)
    assert [values.shape for values in seen] == [(60, 6), (60, 6)]
    if mode == "eval":
        torch.testing.assert_close(y.features, expected.features)


def test_a_sequence_is_built_in_every_way_of_spconv():
    conv, relu = spconv.SubMConv3d(4, 4, 3), nn.ReLU()
    named = spconv.SparseSequential(OrderedDict(conv=conv, relu=relu))
    keyed = spconv.SparseSequential(conv=conv, relu=relu)
    added = spconv.SparseSequential()
    added.add(conv, "conv")
    added.add(relu, name="relu")
    assert list(named._modules) == list(keyed._modules) == list(added._modules) == ["conv", "relu"]
    both = spconv.SparseSequential(conv, relu, last=nn.Identity())
    assert list(both._modules) == ["0", "1", "last"]
    both.add(nn.ReLU())
    both.add_module("more", nn.ReLU())
    assert list(both._modules) == ["0", "1", "last", "3", "more"] and len(both) == 5
    assert both[0] is conv and both[-4] is relu and both[4] is both.more
    x = tensor(3, 40, 4)
    assert torch.equal(named(x).features, conv(x).features.relu())
    assert named.conv is conv and list(named.state_dict()) == ["conv.weight", "conv.bias"]
    with pytest.raises(IndexError, match="out of range"):
        both[5]
    with pytest.raises(ValueError, match="name exists"):
        spconv.SparseSequential(conv, **{"0": relu})
    with pytest.raises(KeyError, match="name exists"):
        both.add(relu, "last")


def test_a_sequence_takes_tensors_and_leaves_the_sparse_world():
    x = tensor(3, 40, 4)
    net = spconv.SparseSequential(spconv.SubMConv3d(4, 6, 3), spconv.ToDense(), nn.Conv3d(6, 2, 3))
    assert net(x).shape == (3, 2, 3, 3, 3)
    assert torch.equal(spconv.SparseSequential(nn.ReLU())(x.features), x.features.relu())
    pooled = spconv.SparseSequential(spconv.SparseGlobalMaxPool(), nn.Linear(4, 2))(x)
    assert pooled.shape == (3, 2)
    assert spconv.SparseSequential()(x) is x
    tables = spconv.ConcatTable().add(spconv.SubMConv3d(4, 3, 3)).add(spconv.SubMConv3d(4, 5, 3))
    assert spconv.SparseSequential(tables, spconv.JoinTable())(x).features.shape == (40, 8)


def test_modules_that_are_not_sparse_are_skipped_without_rows():
    class Refusing(nn.Module):
        def forward(self, features):
            raise AssertionError("called")

    x = tensor(3, 0, 4)
    net = spconv.SparseSequential(
        spconv.SubMConv3d(4, 6, 3), nn.BatchNorm1d(6), Refusing(), spconv.SparseConv3d(6, 5, 3, 2)
    )
    y = net(x)
    assert y.features.shape == (0, 5) and y.spatial_shape == [2, 2, 2]
    assert net[1].num_batches_tracked == 0


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_feature_modules_take_both_kinds_of_tensor(order, grad):
    x = spconv.SubMConv3d(4, 6, 3)(tensor(3, 40, 4, order))
    for make in (spconv.SparseBatchNorm, SparseSyncBatchNorm):
        norm, twin = make(6).eval(), nn.BatchNorm1d(6).eval()
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(norm(x).features, twin(x.features))
            torch.testing.assert_close(norm(x.features), twin(x.features))
    assert torch.equal(spconv.SparseReLU()(x).features, x.features.relu())
    assert torch.equal(spconv.SparseReLU()(x.features), x.features.relu())
    same = spconv.SparseIdentity()(x)
    assert same.features is x.features and spconv.SparseIdentity()(x.features) is x.features
    assert spconv.Identity()(x) is x and spconv.Identity().input_spatial_size(3) == 3
    assert x.indices is norm(x).indices and norm(x).indice_dict is x.indice_dict


def test_what_counts_as_a_sparse_module():
    sparse = [spconv.SubMConv3d(1, 1, 3), spconv.SparseSequential(), spconv.SparseMaxPool2d(2)]
    sparse += [spconv.SparseBatchNorm(2), spconv.SparseReLU(), spconv.ToDense(), spconv.JoinTable()]
    assert all(map(is_spconv_module, sparse))
    dense = [nn.ReLU(), nn.BatchNorm1d(2), spconv.Identity(), spconv.SparseIdentity()]
    assert not any(map(is_spconv_module, dense))
    assert is_sparse_conv(sparse[0]) and not any(map(is_sparse_conv, sparse[1:]))


class Block(spconv.SparseModule):
    """A module of a program's own, that reads and replaces features between layers."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = spconv.SparseSequential(
            spconv.SubMConv3d(channels, channels, 3, indice_key="key"), nn.BatchNorm1d(channels)
        )

    def forward(self, x):
        y = self.conv(x)
        return y.replace_feature(torch.relu(y.features + x.features))


@pytest.mark.parametrize("order", ORDERS)
def test_a_residual_block_adds_rows_to_the_rows_they_came_from(order):
    x = tensor(3, 60, 4, order)
    block = seeded(Block(4)).eval()
    y = spconv.SparseSequential(block, block)(x)
    middle = torch.relu(by_hand(block.conv, x).features + x.features)
    z = x.replace_feature(middle)
    expected = torch.relu(by_hand(block.conv, z).features + middle)
    torch.testing.assert_close(y.features, expected)


def test_join_and_add_tables_need_the_same_sites():
    x = tensor(3, 40, 4)
    y, wide = x.replace_feature(torch.randn(40, 4)), x.replace_feature(torch.randn(40, 6))
    joined = spconv.JoinTable()([x, wide, y])
    assert torch.equal(joined.features, torch.cat([x.features, wide.features, y.features], 1))
    added = spconv.AddTable()([x, y, y])
    torch.testing.assert_close(added.features, x.features + 2 * y.features)
    assert spconv.AddTable()([x]).features is x.features
    assert joined.indices is x.indices and joined.indice_dict is x.indice_dict
    elsewhere = spconv.SparseConvTensor(y.features, x.indices.flip(0), x.spatial_shape, 3)
    fewer = tensor(3, 30, 4)
    grid, batch = x.shadow_copy(), x.shadow_copy()
    grid.spatial_shape, batch.batch_size = [6, 6, 6], 4
    for table in (spconv.JoinTable(), spconv.AddTable()):
        for other in (elsewhere, fewer, grid, batch):
            with pytest.raises(AssertionError):
                table([x, other])
        with pytest.raises(AssertionError):
            table([])
        assert table.input_spatial_size(5) == 5
    with pytest.raises(AssertionError, match="channels"):
        spconv.AddTable()([x, wide])


def test_a_table_of_tensors_on_other_sites_adds_them_on_the_union():
    parts = [tensor(3, sites, 4, seed=sites) for sites in (40, 10, 1)]
    y = AddTableMisaligned()(parts)
    expected = sum(summed(x.features, x.indices, 3, x.spatial_shape) for x in parts)
    sites = torch.cat([x.indices for x in parts]).unique(dim=0)
    assert torch.equal(y.indices.unique(dim=0), sites) and len(y.indices) == len(sites)
    torch.testing.assert_close(y.dense(), expected)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ORDERS)
def test_of_repeated_rows_the_first_is_kept(ndim, order):
    x = tensor(ndim, 20, 3, order)
    y = RemoveDuplicate()(x)
    kept = first_rows(x.indices)
    sites = x.indices.unique(dim=0)
    assert torch.equal(y.indices.unique(dim=0), sites) and len(y.indices) == 20
    place = {tuple(row): x.features[kept[i]] for i, row in enumerate(x.indices.tolist())}
    wanted = torch.stack([place[tuple(row)] for row in y.indices.tolist()])
    assert torch.equal(y.features, wanted)
    assert (y is x) == (order != "repeated")


def test_a_grid_is_forgotten_in_place():
    x = spconv.SparseConvTensor(torch.ones(1, 2), torch.zeros(1, 3).int(), [4, 4], 1, torch.ones(3))
    assert spconv.RemoveGrid()(x) is x and x.grid is None


def test_printing_modules_print_and_return_what_they_got(capsys):
    x = tensor(3, 40, 4)
    assert PrintTensorMeta()(x) is x
    assert str(x.features.max().item())[:6] in capsys.readouterr().out
    timer = PrintCurrentTime()
    assert timer(x, "here", reset=True) is x
    word, seconds = capsys.readouterr().out.split()
    assert word == "here" and 0 <= float(seconds) < 10
