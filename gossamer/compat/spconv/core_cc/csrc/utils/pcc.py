"""`spconv.core_cc.csrc.utils.pcc`."""

from gossamer.compat.clouds.compress import PointCloudCompress as PointCloudCompress
