"""Which dataflow, windows and output sites layers have that are not told otherwise."""

from enum import Enum

from gossamer.compat.voxelnets.kernel import KMAP_MODES
from gossamer.geometry import DOWNSAMPLES

__all__ = [
    "ConvMode",
    "get_conv_mode",
    "get_downsample_mode",
    "get_kmap_mode",
    "set_conv_mode",
    "set_downsample_mode",
    "set_kmap_mode",
]


class ConvMode(Enum):
    """How the rows of a kernel map are ordered on a GPU; results do not depend on it.

    `mode0`: as they are. `mode1`: by the taps that they have. `mode2`: so for each plane of the
    kernel.
    """

    mode0 = 0
    mode1 = 1
    mode2 = 2


class _Chosen:
    """The choice of this process."""

    conv = ConvMode.mode0
    kmap = KMAP_MODES[0]
    downsample = DOWNSAMPLES[0]


def get_conv_mode() -> ConvMode:
    """As it was set last."""
    return _Chosen.conv


def set_conv_mode(conv_mode: int | ConvMode) -> None:
    """Let layers without a config have this mode from now on.

    Raises:
        AssertionError: conv_mode is not 0, 1, 2 or a ConvMode.
    """
    modes = {mode.value: mode for mode in ConvMode}
    found = conv_mode if isinstance(conv_mode, ConvMode) else modes.get(conv_mode)
    assert found is not None, f"Undefined conv_mode: {conv_mode!r}; wanted 0, 1, 2 or a ConvMode"
    _Chosen.conv = found


def get_kmap_mode() -> str:
    """As it was set last."""
    return _Chosen.kmap


def set_kmap_mode(kmap_mode: str) -> None:
    """Let windows of layers without a config begin so from now on.

    Args:
        kmap_mode: "hashmap_on_the_fly", where padding says; or "hashmap", so that the middle of
            the window is on the output.

    Raises:
        AssertionError: there is no such mode.
    """
    assert kmap_mode in KMAP_MODES, (
        f"Unsupport kmap_mode: {kmap_mode!r}. Please set kmap_mode to {' or '.join(KMAP_MODES)}."
    )
    _Chosen.kmap = kmap_mode


def get_downsample_mode() -> str:
    """As it was set last."""
    return _Chosen.downsample


def set_downsample_mode(downsample_mode: str) -> None:
    """Let strided layers without a config make these sites from now on.

    Args:
        downsample_mode: "spconv", all that some window meets a site from; or "minkowski",
            floor(c / stride). It counts in kmap_mode "hashmap".

    Raises:
        AssertionError: there is no such mode.
    """
    assert downsample_mode in DOWNSAMPLES, (
        f"Unsupport downsample_mode {downsample_mode!r}. Please set downsample_mode to "
        f"{' or '.join(DOWNSAMPLES)}."
    )
    _Chosen.downsample = downsample_mode
