"""`spconv.core_cc.csrc.utils.boxops`."""

from gossamer.compat.boxops import BoxOps as BoxOps
