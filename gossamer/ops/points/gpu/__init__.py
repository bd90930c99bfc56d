"""The kernels between points and voxels on a GPU."""
