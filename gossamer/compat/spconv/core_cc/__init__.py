"""The names of upstream's compiled module that work without one."""
