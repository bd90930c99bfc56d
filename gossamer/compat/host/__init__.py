"""Arrays in host memory under the names of `cumm.tensorview`, which passes them on."""
