"""Points and the cells they lie in, with the hashes, counts and weights of TorchSparse."""
