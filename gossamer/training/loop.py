"""The training loop: every step follows from the recipe alone, so a killed run can go on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import cos, pi
from pathlib import Path
from time import perf_counter, process_time

import torch
from torch import Tensor
from torch.optim import AdamW

from gossamer.datasets import Batch, Data
from gossamer.training import checkpoint, resume
from gossamer.training.checkpoint import Trained
from gossamer.training.feed import Prepared, batches, steps_an_epoch
from gossamer.training.loss import segmentation_loss
from gossamer.training.recipes import Recipe
from gossamer.training.resume import Spent

SAVE_EVERY = 300.0  # seconds; and at the end of every epoch
LOOKED_AT = 32  # scans, to count their classes
START, END = 1 / 25, 1e-3  # shares of the highest learning rate


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        stage: "preparing", in scans, or "training", in steps.
        done: how many are done.
        total: of how many.
        loss: of the last step.
    """

    stage: str
    done: int
    total: int
    loss: float = float("nan")


Watch = Callable[[Progress], None]


class Run:
    """A network in training.

    Args:
        recipe: what decides the outcome.
        data: what to learn from.
        folder: where the network and the state of the run are kept, by the names
            `checkpoint.FILE` and `resume.FILE`.
        workers: processes that prepare batches; 0 prepares them between steps.
    """

    def __init__(self, recipe: Recipe, data: Data, folder: Path, workers: int = 0):
        self.recipe, self.workers, self.file = recipe, workers, folder / resume.FILE
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.trained = Trained.fresh(recipe, data)
        self.model = self.trained.model
        self.optimizer = AdamW(
            self.model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.scans = Prepared(data.train, recipe.channels)
        self.per_epoch = steps_an_epoch(self.scans, recipe)
        self.steps = recipe.epochs * self.per_epoch
        self.step, self.spent = 0, Spent()

    def go_on(self) -> None:
        """Go on where the run in the folder was last saved, or begin if there is none.

        Raises:
            CheckpointError: that run has another recipe, other data or another model.
        """
        if self.file.is_file():
            about = resume.restore(self.file, self.model, self.optimizer, self._about)
            self.step, self.spent = about["step"], Spent(**about["spent"])

    def train(self, watch: Watch = lambda progress: None) -> Trained:
        """Do the steps that are left, and give back the network, ready to predict."""
        self.scans.fill(lambda done, total: watch(Progress("preparing", done, total)))
        weights = self._class_weights()
        self.model.train()
        saved = perf_counter()
        while self.step < self.steps:
            clock = perf_counter(), process_time()
            for batch in batches(self.scans, self.recipe, self.step, self.workers):
                loss = self._learn(batch, weights)
                now = perf_counter(), process_time()
                self.spent = Spent(
                    self.spent.seconds + now[0] - clock[0],
                    self.spent.cpu_seconds + now[1] - clock[1],
                    self.spent.voxels + len(batch.voxels),
                )
                clock = now
                if not self.step % self.per_epoch or now[0] - saved > SAVE_EVERY:
                    self._save()
                    saved = now[0]
                watch(Progress("training", self.step, self.steps, loss))
        self.model.eval()
        return self.trained

    def _learn(self, batch: Batch, weights: Tensor) -> float:
        """One step; afterwards `self.step` counts it."""
        share = one_cycle(self.step / max(1, self.steps - 1), self.recipe.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = share * self.recipe.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = segmentation_loss(self.model(batch.voxels).features, batch.labels, weights)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _class_weights(self) -> Tensor:
        """[C]: a rare class weighs more, by the root of how much rarer it is, at most tenfold."""
        classes = len(self.trained.classes)
        counts = torch.ones(classes, dtype=torch.float64)
        for index in range(0, len(self.scans), -(-len(self.scans) // LOOKED_AT)):
            labels = self.scans[index].labels
            if labels is not None:
                counts += torch.bincount(labels[labels >= 0], minlength=classes)
        weights = (counts.mean() / counts).sqrt().clamp(max=10)
        return (weights / weights.mean()).float()

    @property
    def _about(self) -> dict:
        """What a run that goes on must have in common with the one that was saved."""
        classes = list(self.trained.classes)
        return {"recipe": asdict(self.recipe), "classes": classes, "scans": len(self.scans)}

    def _save(self) -> None:
        # The one that predicts first: a state without it would look like a run without a network.
        self.trained.save(self.file.with_name(checkpoint.FILE))
        now = {"step": self.step, "spent": asdict(self.spent)}
        resume.save(self.file, self.model, self.optimizer, {**self._about, **now})


def one_cycle(progress: float, warm_up: float) -> float:
    """The learning rate as a share of the highest: up and down again, both along a cosine.

    Args:
        progress: of the training, 0 to 1.
        warm_up: share of it in which the rate rises.
    """
    if progress < warm_up:
        return _between(START, 1.0, progress / warm_up)
    return _between(1.0, END, (progress - warm_up) / (1 - warm_up))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + cos(pi * share)) / 2
