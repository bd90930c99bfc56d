"""The plug-in for mmdet3d and TorchSparse's two APIs; each case in a process of its own."""

from tests.compat.test_mmdet3d import MMENGINE, PLUG_IN, run

INSTALL = "from gossamer.compat import install\n"


def test_torchsparse_is_there_in_the_api_that_mmdet3d_is_written_for():
    check = "assert 'torchsparse' not in sys.modules\nimport torchsparse\n"
    check += "assert torchsparse.__name__ == 'gossamer.compat.torchsparse14'\n"
    assert not run(MMENGINE, PLUG_IN, check)


def test_a_torchsparse_that_the_process_has_already_stays():
    check = "import torchsparse\nassert torchsparse.__name__ == 'gossamer.compat.torchsparse'\n"
    assert not run(MMENGINE, INSTALL, "install('torchsparse')\n", PLUG_IN, check)
    real = "import sys; from types import ModuleType\n"
    real += "real = sys.modules['torchsparse'] = ModuleType('torchsparse')\n"
    assert not run(MMENGINE, real, PLUG_IN, "import torchsparse; assert torchsparse is real\n")


def test_a_process_has_one_api_and_an_error_says_so():
    said = run(INSTALL, "install('torchsparse', api='1.4')\ninstall('torchsparse')\n")
    assert "api '1.4'" in said and "api '2.1'" in said
