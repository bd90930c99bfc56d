"""How a network is taught, scored, kept and used.

Read downwards: `recipes` says what decides a run, `feed` makes batches of scans, `loop` takes the
steps, `metrics` keeps the score, `checkpoint` and `resume` what is kept, `predict` uses it.
"""

from gossamer.training.checkpoint import Trained
from gossamer.training.loop import Progress, Run, Watch
from gossamer.training.metrics import Confusion
from gossamer.training.predict import aligned, evaluate, predict
from gossamer.training.recipes import Recipe, recipe_for

__all__ = [
    "Confusion",
    "Progress",
    "Recipe",
    "Run",
    "Trained",
    "Watch",
    "aligned",
    "evaluate",
    "predict",
    "recipe_for",
]
