"""The watch over a training: notices one that cannot give a model, and says what to change.

Divergence rarely shows as NaN. More often the loss jumps and stays above that of guessing, or all
units of a layer fall silent and the gradient is exactly zero for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np

from mnist_pipeline.errors import TrainingError
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.recipe import Recipe

QUIET_SHARE = 0.2
"""The first part of a training, in which the loss may still be anything."""

WINDOWS = 20
"""The loss is judged by its mean over a twentieth of the training (but over 10 steps at least)."""

MARGIN = 1.05
"""How far above that of guessing a loss has to stay: noise around it is not divergence."""

MOST_DEAD = 0.95
"""The share of silent units in a layer beyond which it passes on nothing to speak of."""


class Watch:
    """Judges every step of one training.

    Args:
        recipe: of the training.
        total_steps: that it will run.
        classes: guessing among them costs ln(classes).
        started: when the deadline begins to count, by `time.monotonic`; None for now.
    """

    def __init__(
        self, recipe: Recipe, *, total_steps: int, classes: int, started: float | None = None
    ) -> None:
        self.recipe = recipe
        self.total_steps = total_steps
        # With a single class there is nothing to guess and nothing to get wrong.
        self.guessing = math.log(classes) if classes > 1 else math.inf
        self._started = time.monotonic() if started is None else started
        self._quiet_steps = max(QUIET_SHARE, recipe.warmup) * total_steps
        self._window = max(10, total_steps // WINDOWS)
        self._sum = 0.0
        self._previous = math.inf

    def is_late(self) -> bool:
        """Whether the deadline has passed, counted from `started`."""
        deadline = self.recipe.deadline
        return deadline is not None and time.monotonic() - self._started > deadline

    def lateness(self, step: int) -> TrainingError:
        """The error for that: the training fails, and never becomes a shorter one."""
        return TrainingError(
            f"the training passed its deadline of {self.recipe.deadline:g} seconds",
            step=step,
            total_steps=self.total_steps,
            remedy="run it again: it goes on from where it was; or raise train.deadline",
        )

    def check_gradient(self, step: int, loss: float, gradient: Array) -> None:
        """Raise if the gradient (n,) or the loss is not finite."""
        # One product: NaN and infinity both survive it, and it costs a hundredth of a step.
        if not (math.isfinite(float(np.dot(gradient, gradient))) and math.isfinite(loss)):
            # As text, because JSON has no NaN.
            raise self._error(
                "the training diverged: its gradient is not finite", step, loss=f"{loss:.4g}"
            )

    def check_loss(self, step: int, loss: float) -> None:
        """Raise if the loss of a window is worse than guessing, and not falling either."""
        self._sum += loss
        if step % self._window:
            return
        mean = self._sum / self._window
        if step > self._quiet_steps and mean >= max(MARGIN * self.guessing, self._previous):
            raise self._error(
                "the training diverged: its loss stays above that of guessing",
                step,
                loss=round(mean, 4),
                guessing=round(self.guessing, 4),
            )
        self._previous, self._sum = mean, 0.0

    def check_units(self, step: int, dead: float) -> None:
        """Raise if the share of dead units in a layer leaves nothing to learn with."""
        if step > self._quiet_steps and dead > MOST_DEAD:
            raise self._error(
                f"the training died: {dead:.0%} of a layer's units are silent for every image",
                step,
            )

    def check_parameters(self, step: int, parameters: Array) -> None:
        """Raise if a parameter is not finite; only the last update can have hidden that."""
        if not np.isfinite(parameters).all():
            raise self._error("the training diverged: a weight is not finite", step)

    @property
    def state(self) -> dict[str, float | None]:
        """What a checkpoint keeps: the loss of this window and of the one before."""
        previous = self._previous if math.isfinite(self._previous) else None  # JSON has no infinity
        return {"sum": self._sum, "previous": previous}

    def restore(self, state: Mapping[str, float | None]) -> None:
        """The inverse of `state`."""
        self._sum = state["sum"] or 0.0
        self._previous = math.inf if state["previous"] is None else state["previous"]

    def _error(self, headline: str, step: int, **facts: float | str) -> TrainingError:
        rate = self.recipe.learning_rate
        return TrainingError(
            headline,
            step=step,
            total_steps=self.total_steps,
            learning_rate=rate,
            **facts,
            remedy=f"lower train.learning_rate (try {rate / 10:g}), add "
            "train.warmup, or choose another model.init",
        )
