"""Keys in Triton: what the functions of the backend are made of."""
