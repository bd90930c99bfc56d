"""`spconv.core_cc.csrc.utils.pcc`."""

from gossamer.compat.compress import PointCloudCompress as PointCloudCompress
