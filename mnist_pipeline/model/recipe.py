"""How a network is trained: every number of it, checked before the first step."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable
from typing import Any

from mnist_pipeline.errors import ConfigError, did_you_mean
from mnist_pipeline.model import schedules
from mnist_pipeline.model.augment import Augmentation
from mnist_pipeline.model.optimizers import OptimizerName
from mnist_pipeline.model.schedules import ScheduleName
from mnist_pipeline.plugins import option

PACE = ("deadline", "checkpoint_every")
"""Options that change no result, only how it is reached: they are in no key."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The training options; exactly one of `epochs` and `iterations` says how long.

    Raises:
        ConfigError: an option is outside its range.
    """

    optimizer: OptimizerName = option("adam", "sgd, momentum, adam, adamw (decoupled l2)")  # noqa: RUF009
    learning_rate: float = option(1e-3, "the peak of the schedule, > 0")
    schedule: ScheduleName = option("cosine", "constant, step, exponential, cosine, one_cycle")  # noqa: RUF009
    warmup: float = option(0.0, "share of the steps over which the rate first rises from 0")
    decay: float = option(0.1, "factor of `step` at each milestone, of `exponential` in all")
    milestones: tuple[float, ...] = option((0.5, 0.75), "where `step` falls, as shares of the run")
    peak_at: float = option(0.3, "where `one_cycle` peaks, as a share of the run")
    momentum: float = option(0.9, "of the optimizer `momentum`, in [0, 1)")
    beta1: float = option(0.9, "Adam's memory of the gradient, in [0, 1)")
    beta2: float = option(0.999, "Adam's memory of its square, in [0, 1); 0.99 for short runs")
    epochs: int | None = option(None, "passes over the training rows")
    iterations: int | None = option(None, "optimizer steps, in place of epochs")
    batch_size: int = option(128, "rows a step; 0 for all of them (full batch)")
    l2: float = option(0.0, "weight decay of matrices, >= 0")
    label_smoothing: float = option(0.0, "share of each target spread over all classes, in [0, 1)")
    augment: Augmentation = option(  # noqa: RUF009
        Augmentation(), "how far images are bent at random, each time they are seen"
    )
    average: float = option(0.0, "memory of the averaged weights that are published; 0 for none")
    early_stopping: int = option(0, "evaluations without improvement until it stops; 0 for never")
    seed: int = option(0, "of the start, the order of rows, dropout, augmentation")
    deadline: float | None = option(None, "seconds after which the training fails")
    checkpoint_every: int = option(1000, "steps between checkpoints to go on from; 0 for none")

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", OptimizerName), ("schedule", ScheduleName)):
            value, valid = getattr(self, name), typing.get_args(choices)
            if value not in valid:
                raise ConfigError(
                    f"there is no {name} called {value!r}",
                    key=f"train.{name}",
                    remedy=did_you_mean(str(value), valid),
                )
        if (self.epochs is None) == (self.iterations is None):
            raise ConfigError(
                "the training needs exactly one of epochs and iterations",
                epochs=self.epochs,
                iterations=self.iterations,
                remedy="set train.epochs, or train.iterations, and leave the other out",
            )
        for names, valid_range, holds in _RANGES:
            for name in names:
                value = getattr(self, name)
                if value is not None and not holds(value):
                    raise ConfigError(
                        f"{name} cannot be {value!r}",
                        key=f"train.{name}",
                        expected=valid_range,
                        remedy=f"give train.{name} a value in that range",
                    )

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """The learning rate of a step, counted from 1."""
        return schedules.learning_rate(
            self.schedule,
            step - 1,
            total_steps,
            peak=self.learning_rate,
            warmup=self.warmup,
            decay=self.decay,
            milestones=self.milestones,
            peak_at=self.peak_at,
        )

    def average_at(self, step: int) -> float:
        """How much of the averaged weights stays at a step: less at first, so that the start fades.

        min(average, (1 + t)/(10 + t)), the ramp that is common with exponential averages.
        """
        return min(self.average, (1 + step) / (10 + step))


_Range = tuple[tuple[str, ...], str, Callable[[Any], bool]]
_RANGES: tuple[_Range, ...] = (
    (("learning_rate",), "a number > 0", lambda v: 0 < v < math.inf),
    (("decay",), "a factor in (0, 1]", lambda v: 0 < v <= 1),
    (("warmup", "label_smoothing"), "a share in [0, 1)", lambda v: 0 <= v < 1),
    (("momentum", "beta1", "beta2", "average"), "a factor in [0, 1)", lambda v: 0 <= v < 1),
    (("peak_at",), "a share in (0, 1)", lambda v: 0 < v < 1),
    (("milestones",), "shares in (0, 1)", lambda v: all(0 < share < 1 for share in v)),
    (("l2",), "a number >= 0", lambda v: 0 <= v < math.inf),
    (("epochs", "iterations"), "an integer >= 1", lambda v: v >= 1),
    (
        ("batch_size", "early_stopping", "seed", "checkpoint_every"),
        "an integer >= 0",
        lambda v: v >= 0,
    ),
    (("deadline",), "seconds > 0", lambda v: v > 0),
)
