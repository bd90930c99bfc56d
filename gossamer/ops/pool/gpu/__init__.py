"""The kernels of pooling on a GPU: over the lines of a table, and over sorted runs of pairs."""
