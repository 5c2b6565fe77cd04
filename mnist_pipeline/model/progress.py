"""How a training stands, and what it leaves."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.model.arrays import Parameters
from mnist_pipeline.model.profile import Profile


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a training stands, for a live display.

    Attributes:
        step: steps done, of `total_steps`.
        epoch: the epoch of that step, from 1.
        loss: mean training loss since the last evaluation.
        validation_accuracy: of the last evaluation; None before it or without validation rows.
        learning_rate: of that step.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    validation_accuracy: float | None
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        parameters: trained, those of unlit pixels zeroed; with early stopping the best ones.
        history: one object an evaluation: `step`, `epoch`, `loss` (training mean since the last),
            `accuracy` (on a sample of training rows), `validation_accuracy`, `validation_loss`
            (None without validation rows), `learning_rate`.
        steps: how many were run.
        lit: (pixels,), False where an input was dark in every training row seen.
        profile: what it did with its time.
    """

    parameters: Parameters
    history: list[dict[str, Any]]
    steps: int
    lit: NDArray[np.bool_]
    profile: Profile


def ignore(progress: Progress) -> None:
    """The progress report nobody reads."""
