"""The gradient of a batch, by as many cores as it pays for, with the same bits by any number.

A batch is cut into lanes: contiguous shares of its rows, always as many, whoever works on them.
Their gradients are joined in a fixed order. Two lanes on two cores take little more than half the
time; two threads inside one matrix product would take more, and other bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnist_pipeline.model.arrays import FlatArrays
from mnist_pipeline.model.batches import Loader, Rows, halves, size
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.profile import Laps
from mnist_pipeline.model.threads import Hands


class Lane:
    """One share of every batch: its own buffers, its own gradient, its own random numbers.

    Args:
        loader: makes its inputs.
        gradients: where its gradient goes.
        rng: for dropout and the like.
    """

    def __init__(self, loader: Loader, gradients: FlatArrays, rng: np.random.Generator) -> None:
        self.loader, self.gradients, self.rng = loader, gradients, rng
        self.laps = Laps()

    def gradient(
        self, model: Model, parameters: FlatArrays, rows: Rows | slice, label_smoothing: float
    ) -> tuple[int, float]:
        """How many rows there are, and the mean loss over them; its gradient is left behind."""
        count, total, summed = 0, 0.0, None
        self.laps.start()
        for x, labels in self.loader.blocks(rows):
            self.laps.lap("rows")
            loss = model.loss_and_gradients(
                parameters.views,
                x,
                labels,
                self.gradients.views,
                label_smoothing=label_smoothing,
                rng=self.rng,
            )
            before, count = count, count + len(labels)
            total += len(labels) * loss
            if before or count < size(rows):  # several blocks: the mean of their gradients
                self.gradients.buffer *= len(labels)
                summed = self.gradients.buffer.copy() if summed is None else summed
                if before:
                    summed += self.gradients.buffer
            self.laps.lap("gradient")
        if summed is not None:
            np.divide(summed, count, out=self.gradients.buffer)
        return count, total / count


def batch_gradient(
    model: Model,
    parameters: FlatArrays,
    lanes: Sequence[Lane],
    rows: Rows | slice,
    label_smoothing: float,
    hands: Hands,
) -> float:
    """The mean loss over a batch; its gradient goes into that of the first lane."""
    if len(lanes) == 1:
        return lanes[0].gradient(model, parameters, rows, label_smoothing)[1]
    pairs = list(zip(lanes, halves(rows, len(lanes)), strict=False))

    def work(pair: tuple[Lane, Rows | slice]) -> tuple[int, float]:
        lane, share = pair
        return lane.gradient(model, parameters, share, label_smoothing)

    results = hands.map(work, pairs)
    total = sum(count for count, _ in results)
    first = lanes[0].gradients.buffer
    for (lane, _), (count, _) in zip(pairs, results, strict=True):
        lane.gradients.buffer *= count / total
        if lane is not lanes[0]:
            first += lane.gradients.buffer
    return sum(count * loss for count, loss in results) / total
