"""What the libraries themselves compute, as they computed it on a CPU."""

import pytest

from gossamer.compat import minkowski, torchsparse14
from tests.compat.upstream import fingerprint
from tests.compat.upstream import minkowski as in_minkowski
from tests.compat.upstream import torchsparse14 as in_torchsparse14

MINKOWSKI = dict(in_minkowski.cases(minkowski))
TORCHSPARSE14 = dict(in_torchsparse14.cases(torchsparse14))


@pytest.mark.parametrize("name", MINKOWSKI)
def test_minkowski_engine_0_5_4_computes_the_same(name):
    wanted = fingerprint.expected("minkowski")[name]
    assert MINKOWSKI[name]() == pytest.approx(wanted, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("name", TORCHSPARSE14)
def test_torchsparse_1_4_0_computes_the_same(name):
    wanted = fingerprint.expected("torchsparse14")[name]
    assert TORCHSPARSE14[name]() == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def test_every_case_that_they_computed_is_held():
    assert sorted(MINKOWSKI) == sorted(fingerprint.expected("minkowski"))
    assert sorted(TORCHSPARSE14) == sorted(fingerprint.expected("torchsparse14"))
