"""Rulebooks as the arrays that spconv shows: made, read, and computed with."""
