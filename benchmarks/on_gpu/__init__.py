"""What `benchmarks/gpu.py` is made of.

Read downwards: `scenes` are what is computed on, `clock` how it is timed, `tasks` what a section
consists of and how it runs, here or in processes of its own (`apart`); `machine`, `laws` and its
helpers, `rulebooks`, `layers`, `networks`, `questions` and `peers` are the sections; `report` is
the table at the end.
"""
