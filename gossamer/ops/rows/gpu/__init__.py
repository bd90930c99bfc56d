"""The kernels that move, sum up and scale rows on a GPU."""
