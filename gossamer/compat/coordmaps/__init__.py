"""Sets of coordinates under keys, and what leads from one set to another."""
