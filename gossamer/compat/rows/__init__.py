"""A caller's rows, and the sites they lie on: features, indices, dense grids."""
