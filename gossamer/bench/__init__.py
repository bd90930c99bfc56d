"""gossamer beside every other library that is installed, measured on one scan.

Read downwards: a `Scene` is what everyone gets, a `Problem` what is asked of everyone, a `Work` one
contender's answer; `ours`, `networks` and `peers/` make works; `timing` runs them in turns; `run`
checks that all agree and makes rows; `report` shows them.
"""
