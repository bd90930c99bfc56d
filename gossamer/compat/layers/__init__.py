"""What the layers of a facade are made of."""
