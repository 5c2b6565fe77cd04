"""How a training is going: accuracies while it runs, by the road that every prediction takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.batches import Images, Labels
from mnist_pipeline.model.predictor import Predictor

_SMALLEST = float(np.finfo(np.float32).tiny)


def evaluate(
    predictor: Predictor,
    sample: tuple[Images, Labels],
    validation: tuple[Images, Labels] | None,
) -> dict[str, float | None]:
    """`accuracy` on the sample; `validation_accuracy` and `validation_loss`, None without rows."""
    accuracy = float(np.mean(predictor(sample[0]).argmax(axis=1) == sample[1]))
    if validation is None:
        return {"accuracy": accuracy, "validation_accuracy": None, "validation_loss": None}
    images, labels = validation
    p = predictor(images)
    at_label = p[np.arange(len(labels)), labels].astype(np.float64)
    return {
        "accuracy": accuracy,
        "validation_accuracy": float(np.mean(p.argmax(axis=1) == labels)),
        # A float32 probability can be 0; the smallest one above it keeps the mean finite.
        "validation_loss": float(-np.log(np.maximum(at_label, _SMALLEST)).mean()),
    }


class Best:
    """The parameters of the best evaluation: highest validation accuracy, then lowest loss."""

    def __init__(self) -> None:
        self.parameters: Array | None = None
        self.evaluations_since = 0
        self._score = (-math.inf, -math.inf)

    def offer(self, evaluation: Mapping[str, Any], parameters: Array) -> None:
        """Keeps a copy of (n,) parameters if they are better than all before."""
        score = (evaluation["validation_accuracy"], -evaluation["validation_loss"])
        self.evaluations_since += 1
        if score > self._score:
            self._score, self.parameters = score, parameters.copy()
            self.evaluations_since = 0

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the parameters."""
        score = list(self._score) if self.parameters is not None else None
        return {"score": score, "evaluations_since": self.evaluations_since}

    def restore(self, state: Mapping[str, Any], parameters: NDArray[Any] | None) -> None:
        """The inverse of `state`."""
        self.parameters = parameters
        self.evaluations_since = state["evaluations_since"]
        if state["score"] is not None:
            self._score = (state["score"][0], state["score"][1])
