"""`spconv.core_cc.csrc.utils.boxops`."""

from gossamer.compat.clouds.boxops import BoxOps as BoxOps
