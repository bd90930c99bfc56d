"""What upstream corrupts memory or miscomputes on is an error that names the argument."""

import pytest
import torch

from gossamer.compat.spconv.pytorch import ops
from tests.compat.kernels import IMPLICIT, NATIVE, built


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        (
            {"ksize": [2, 3], "subm": True},
            RuntimeError,
            r"ksize is \[2, 3\]; subm only support odd",
        ),
        ({"ksize": [9, 9]}, RuntimeError, r"spatial_shape is \[4, 5\].*\[-4, -3\]"),
        ({"padding": [3, 9], "transpose": True}, RuntimeError, "use a smaller kernel"),
        ({"ksize": [3]}, ValueError, "ksize"),
        ({"ksize": 2.5}, TypeError, "ksize is 2.5; wanted one int or 2"),
        ({"stride": [1.5, 1]}, ValueError, "stride is"),
        ({"dilation": "1"}, ValueError, "dilation is '1'"),
        ({"batch_size": 2.5}, TypeError, "batch_size is 2.5; wanted a whole number"),
        ({"spatial_shape": [4, 5.5]}, TypeError, "size is 5.5; wanted a whole number"),
        ({"stride": [0, 1]}, ValueError, "stride"),
        ({"batch_size": 1}, ValueError, "batch"),
        ({"spatial_shape": [2, 5]}, ValueError, "wanted rows inside the grid"),
        ({"spatial_shape": [4, 5, 6]}, ValueError, "spatial_shape"),
        ({"indices": torch.zeros(3, 3)}, TypeError, "torch.float32"),
        ({"indices": torch.tensor([[0, -1, 0]])}, ValueError, "wanted rows inside the grid"),
    ],
)
def test_what_upstream_miscomputes_is_an_error_that_names_the_argument(changed, error, words):
    indices = torch.tensor([[0, 0, 0], [1, 3, 4]], dtype=torch.int32)
    given = {
        **{"indices": indices, "batch_size": 2, "spatial_shape": [4, 5], "ksize": [3, 3]},
        **{"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "out_padding": [0, 0]},
        **changed,
    }
    with pytest.raises(error, match=words):
        ops.get_indice_pairs(algo=NATIVE, **given)
    with pytest.raises(error, match=words):
        ops.get_indice_pairs_implicit_gemm(algo=IMPLICIT, **given)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"features": torch.randn(19, 3)}, ValueError, r"indice_pairs\[0\]"),
        ({"features": torch.randn(20, 4)}, ValueError, r"filters is \(4, 3, 3, 3\)"),
        ({"features": torch.randn(20, 3).double()}, TypeError, "filters is torch.float32"),
        ({"features": torch.randn(20)}, ValueError, "features has shape"),
        ({"filters": torch.randn(4, 2, 2, 3)}, ValueError, "which is 4 taps"),
        ({"bias": torch.randn(3)}, ValueError, r"bias is \(3,\)"),
        ({"num_activate_out": 2.5}, TypeError, "num_activate_out is 2.5; wanted a whole number"),
        ({"num_activate_out": 2}, ValueError, r"indice_pairs\[1\]"),
        ({"act_type": 9}, ValueError, "act_type is 9"),
    ],
)
def test_a_convolution_checks_what_it_is_given(changed, error, words):
    _, _, sizes, (out, pairs, counts) = built("regular", 2)
    given = {
        **{"features": torch.randn(20, 3), "filters": torch.randn(4, *sizes[0], 3)},
        **{"indice_pairs": pairs, "indice_pair_num": counts, "num_activate_out": len(out)},
        **changed,
    }
    with pytest.raises(error, match=words):
        ops.indice_conv(**given)


def test_a_table_is_checked_against_the_number_of_outputs():
    table = torch.zeros(9, 4, dtype=torch.int32)
    x, filters = torch.randn(2, 3), torch.randn(4, 3, 3, 3)
    with pytest.raises(ValueError, match="pair_fwd has 4 columns and num_activate_out is 5"):
        ops.implicit_gemm(x, filters, table, [], [], 5, [], False, False)
    with pytest.raises(ValueError, match="pair_fwd has numbers from 0 to 0; wanted -1 to -1"):
        ops.implicit_gemm(x[:0], filters, table, [], [], 4, [], False, False)
    with pytest.raises(ValueError, match="count_out"):
        ops.indice_avgpool_implicit_gemm_backward(torch.randn(2, 3), table, torch.zeros(3))


@pytest.mark.parametrize("ops_of", [NATIVE, IMPLICIT])
@pytest.mark.parametrize(("subm", "transpose"), [(False, False), (True, False), (False, True)])
def test_one_int_stands_for_all_axes(ops_of, subm, transpose):
    indices = torch.tensor([[0, 0, 0], [1, 3, 4]], dtype=torch.int32)
    build = ops.get_indice_pairs if ops_of is NATIVE else ops.get_indice_pairs_implicit_gemm
    sizes = (3, 2, 1, 1, 0)
    one = build(indices, 2, [4, 5], ops_of, *sizes, subm, transpose)
    each = build(indices, 2, [4, 5], ops_of, *([n, n] for n in sizes), subm, transpose)
    for a, b in zip(one, each, strict=True):
        torch.testing.assert_close(a, b)
