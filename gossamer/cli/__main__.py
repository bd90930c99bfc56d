"""`python -m gossamer.cli`: the same as the command `gossamer`."""

from gossamer.cli import main

main()
