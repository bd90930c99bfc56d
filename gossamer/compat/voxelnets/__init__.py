"""Kernels, sites and kernel maps as the facades of TorchSparse know them."""
