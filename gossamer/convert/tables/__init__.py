"""Where the modules of a network are in other code bases: a file a pair, each a tuple of lines.

A line pairs the path of a module in gossamer with its path elsewhere. `{level}`, `{block}` and
`{step}` count from 0 and `{level1}` and `{block1}` from 1. Both directions read the same lines.
"""
