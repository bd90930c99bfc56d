"""The kernels of convolution on a GPU, one file a kernel; gossamer.ops.conv.triton chooses."""
