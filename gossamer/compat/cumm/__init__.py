"""What programs written for spconv import from `cumm`: `cumm.tensorview`."""

from gossamer.compat.cumm import tensorview as tensorview

__version__ = "0.7.11"
CUMM_CPU_ONLY_BUILD = True
