"""`spconv.core_cc.csrc.utils`: boxes, and clouds in fewer bytes."""
