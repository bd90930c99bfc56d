"""`spconv.core_cc.csrc`."""
