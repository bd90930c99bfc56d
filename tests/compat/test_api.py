"""The names and signatures of spconv 2.3.8, against the real one where it is installed."""

import inspect
from enum import Enum
from importlib import import_module

import pytest

import gossamer.compat.spconv as ours
import gossamer.compat.spconv.pytorch as ours_pytorch

MODULES = ["spconv", "spconv.core", "spconv.constants", "spconv.cppconstants", "spconv.tools"]
MODULES += ["spconv.utils", "spconv.test_utils", "spconv.debug_utils", "spconv.pytorch"]
MODULES += [
    f"spconv.pytorch.{name}"
    for name in "core conv modules pool tables identity constants spatial".split()
]
MODULES += [f"spconv.pytorch.{name}" for name in "functional ops hash utils".split()]

# What their modules take from each other to run their kernels.
KERNELS = {"TorchAllocator", "TorchSpconvMatmul"}
# What is theirs alone: bindings of C++, and what a script of theirs is run by.
INTERNAL = {
    "spconv": {"build", "core_cc"},
    "spconv.pytorch": {"cppcore", "quantization"},
    "spconv.pytorch.hash": {"main"},
    "spconv.pytorch.functional": {"identity_decorator"},
}
PACKAGES = ("spconv", "spconv.pytorch", "spconv.utils")
CONSTANTS = ("spconv.constants", "spconv.cppconstants")
EXPORTS = """
SparseConvTensor SparseModule SparseSequential SparseBatchNorm SparseReLU SparseIdentity Identity
assign_name_for_sparse_modules AddTable ConcatTable JoinTable ToDense RemoveGrid ConvAlgo
SparseConv1d SparseConv2d SparseConv3d SparseConv4d SubMConv1d SubMConv2d SubMConv3d SubMConv4d
SparseConvTranspose1d SparseConvTranspose2d SparseConvTranspose3d SparseConvTranspose4d
SparseInverseConv1d SparseInverseConv2d SparseInverseConv3d SparseInverseConv4d
SparseMaxPool1d SparseMaxPool2d SparseMaxPool3d SparseMaxPool4d
SparseAvgPool1d SparseAvgPool2d SparseAvgPool3d SparseGlobalMaxPool SparseGlobalAvgPool
functional ops conv pool modules tables identity core hash constants utils spatial
""".split()


def is_taken_from_a_neighbour(module, name: str, value: object) -> bool:
    if home := getattr(value, "__module__", None):
        return home.startswith("spconv.") and "core_cc" not in home and home != module.__name__
    public = name.isupper() and not name.startswith("_")
    return public and isinstance(value, (bool, int, float, str))


def ours_of(module: str):
    return import_module(f"gossamer.compat.{module}")


def public(module) -> dict[str, object]:
    """What a module defines, or a package hands out; of constants those of the modules for them."""
    values = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    mine = set(INTERNAL.get(module.__name__, ()))
    return {
        name: value for name, value in values.items() if name not in mine and is_own(module, value)
    }


def is_own(module, value) -> bool:
    home = getattr(value, "__module__", None)
    if module.__name__ in PACKAGES:
        return (home or getattr(value, "__name__", "")).startswith("spconv")
    if module.__name__ in CONSTANTS and not inspect.ismodule(value):
        return home in (None, module.__name__)
    return home == module.__name__


def parameters(function) -> list[tuple[str, object]]:
    """Names and defaults in order; enumerations by their names."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if isinstance(default, Enum) or type(default).__name__ == "Activation":
            default = str(getattr(default, "name", default)).split(".")[-1]
        if hasattr(default, "get_all_pair_time"):  # a timer, which has no equal
            default = "timer"
        found.append((parameter.name, default))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there(module):
    theirs = pytest.importorskip(module)
    here = ours_of(module)
    # A submodule is an attribute once somebody has imported it.
    loaded = [name for name, value in public(theirs).items() if inspect.ismodule(value)]
    for name in loaded:
        import_module(f"{here.__name__}.{name}")
    assert [name for name in public(theirs) if not hasattr(here, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_copies_of_their_files_import_what_modules_take_from_each_other(module):
    theirs = pytest.importorskip(module)
    taken = [n for n, v in vars(theirs).items() if is_taken_from_a_neighbour(theirs, n, v)]
    here = ours_of(module)
    assert [n for n in taken if not hasattr(here, n) and n not in KERNELS] == []


@pytest.mark.parametrize("module", MODULES)
def test_functions_and_constructors_take_what_theirs_take(module):
    theirs = pytest.importorskip(module)
    here, different = ours_of(module), {}
    for name, value in public(theirs).items():
        mine = getattr(here, name, None)
        if mine is None or not callable(value) or inspect.isbuiltin(value):
            continue
        if isinstance(value, type) and issubclass(value, Enum):
            assert {e.name: e.value for e in mine} == {e.name: e.value for e in value}
            continue
        try:
            wanted = parameters(value)
        except (ValueError, TypeError):  # bound in C++, without a signature
            continue
        if parameters(mine) != wanted:
            different[name] = parameters(mine), wanted
    assert not different


@pytest.mark.parametrize("module", MODULES)
def test_methods_and_properties_of_classes_are_there(module):
    theirs = pytest.importorskip(module)
    here, different = ours_of(module), {}
    for name, value in public(theirs).items():
        mine = getattr(here, name, None)
        bound = "core_cc" in getattr(value, "__module__", "")  # shows buffers of its own
        if not isinstance(value, type) or mine is None or bound or issubclass(value, Enum):
            continue
        for method, wanted in vars(value).items():
            if method.startswith("_"):
                continue
            if not hasattr(mine, method):
                different[f"{name}.{method}"] = "missing"
            elif inspect.isfunction(wanted) and method != "apply":
                came, asked = parameters(getattr(mine, method)), parameters(wanted)
                if came != asked:
                    different[f"{name}.{method}"] = came, asked
    assert not different


def test_the_name_of_a_layers_counter_is_theirs():
    theirs, name = pytest.importorskip("spconv.pytorch.conv"), "_MAX_NUM_VOXELS_DURING_TRAINING"
    assert getattr(ours_pytorch.conv, name) == getattr(theirs, name)


def test_constants_are_theirs():
    theirs = pytest.importorskip("spconv.constants")
    for name, value in public(theirs).items():
        if isinstance(value, (bool, int, float, str, list)) and "ROOT" not in name:
            assert getattr(ours.constants, name) == value, name


@pytest.mark.parametrize("name", EXPORTS)
def test_programs_import_every_export(name):
    assert getattr(ours_pytorch, name) is not None
    assert name in dir(ours_pytorch) and name in ours_pytorch.__all__


def test_what_is_not_there_is_said():
    with pytest.raises(AttributeError, match=r"spconv\.pytorch.*SparseConv5d"):
        ours_pytorch.SparseConv5d  # noqa: B018


def test_the_version_is_read_as_programs_read_it():
    assert ours.__version__ == "2.3.8"
    assert ours.SPCONV_VERSION_NUMBERS == [2, 3, 8]
    assert float(ours.__version__[2:]) >= 2.2  # OpenPCDet
    assert ours.__version__ >= "2.0.0"  # mmdet3d


def test_names_whose_presence_would_mean_version_1_are_absent():
    utils = ours_of("spconv.utils")
    assert not hasattr(utils, "VoxelGenerator") and not hasattr(utils, "VoxelGeneratorV2")


def test_constants_can_be_assigned_before_pytorch_is_imported():
    kept = ours.constants.SPCONV_USE_DIRECT_TABLE
    ours.constants.SPCONV_USE_DIRECT_TABLE = False
    assert ours.constants.SPCONV_USE_DIRECT_TABLE is False
    ours.constants.SPCONV_USE_DIRECT_TABLE = kept
