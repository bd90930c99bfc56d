"""What spconv 1.x does in its own way: its tensor, its tuples of arrays, its shared keys."""
