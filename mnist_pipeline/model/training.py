"""The training loop: batches in, gradients, updates, evaluations; its whole state in one place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mnist_pipeline.model.arrays import FlatArrays, Parameters
from mnist_pipeline.model.augment import Distorter
from mnist_pipeline.model.batches import BLOCK, Images, Labels, Loader, Order, size
from mnist_pipeline.model.checkpoint import (
    Checkpoint,
    Checkpoints,
    generator_state,
    restore_generator,
)
from mnist_pipeline.model.evaluation import Best, evaluate
from mnist_pipeline.model.lanes import Lane, batch_gradient
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.optimizers import Optimizer
from mnist_pipeline.model.profile import Laps, Profile
from mnist_pipeline.model.progress import Progress, TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.threads import Hands
from mnist_pipeline.model.watch import Watch

SAMPLE = 2048
"""Training rows on which the training accuracy is estimated."""

PROBE = 512
"""Rows of that sample on which dead units are counted."""

EVALUATIONS = 50
"""How often a training is evaluated whose epochs are single steps (full batch)."""

CALIBRATED = 256
"""Rows of the sample that a model with batch normalization is calibrated on at a time."""

SECONDS_A_REPORT = 0.1


class Training:
    """A training in progress: everything that its next step depends on. See `train`."""

    def __init__(
        self,
        model: Model,
        rows: tuple[Images, Labels],
        normalizer: FittedNormalizer,
        recipe: Recipe,
        *,
        classes: int,
        shape: tuple[int, int],
        validation: tuple[Images, Labels] | None,
        started: float | None,
        dtype: DTypeLike,
    ) -> None:
        self.model, self.normalizer, self.recipe = model, normalizer, recipe
        self.images, labels = np.ascontiguousarray(rows[0]), rows[1]
        self.validation = validation
        # A generator each: more dropout must not change the order of rows.
        start, shuffling, dropout, sampling, augmentation = np.random.SeedSequence(
            recipe.seed
        ).spawn(5)
        self.order = Order(len(labels), recipe.batch_size, np.random.default_rng(shuffling))
        count = model.lanes(self.order.batch_size)
        block = min(-(-self.order.batch_size // count), BLOCK)
        self.parameters = FlatArrays.of(
            model.initialise(self.images.shape[1], classes, np.random.default_rng(start)), dtype
        )
        self._generators = {"order": self.order.rng}
        self.lanes = []
        for number, seeds in enumerate(
            zip(dropout.spawn(count), augmentation.spawn(count), strict=True)
        ):
            silencing, bending = (np.random.default_rng(seed) for seed in seeds)
            self._generators |= {f"dropout{number}": silencing, f"augmentation{number}": bending}
            distort = Distorter(recipe.augment, shape, block, bending) if recipe.augment else None
            loader = Loader(
                self.images, labels, normalizer, dtype=dtype, block=block, distort=distort
            )
            self.lanes.append(Lane(loader, self.parameters.zeros_like(), silencing))
        self.gradients = self.lanes[0].gradients
        self.optimizer = Optimizer(
            recipe.optimizer,
            self.parameters,
            self.gradients,
            l2=recipe.l2,
            momentum=recipe.momentum,
            beta1=recipe.beta1,
            beta2=recipe.beta2,
        )
        self.average = self.parameters.copy() if recipe.average else None
        self.total_steps = recipe.iterations or (recipe.epochs or 0) * self.order.steps_per_epoch
        self.interval = self.order.steps_per_epoch
        if self.interval == 1:
            self.interval = max(1, self.total_steps // EVALUATIONS)
        self.watch = Watch(recipe, total_steps=self.total_steps, classes=classes, started=started)
        # Drawn, not every n-th row: files have a rhythm (in MNIST's, even rows are twice as hard).
        drawn = np.random.default_rng(sampling).permutation(len(labels))
        chosen = np.sort(drawn[:SAMPLE])
        self.sample = self.images[chosen], labels[chosen]
        self.inputs = normalizer.transform(self.sample[0]).astype(dtype)
        self.history: list[dict[str, Any]] = []
        self.best = Best()
        self.losses: list[float] = []  # since the last evaluation
        self.step = 0
        self.laps = Laps()
        self._begun_at, self._rows_done = 0, 0

    def run(
        self, hands: Hands, report: Callable[[Progress], None], checkpoints: Checkpoints
    ) -> TrainingResult:
        """All steps that are left.

        Raises:
            TrainingError: it diverged, died, or passed its deadline, which leaves a checkpoint.
        """
        if checkpoint := checkpoints.load():
            self.restore(checkpoint)
        next_report, every = 0.0, self.recipe.checkpoint_every
        while self.step < self.total_steps and not self.stops_early:
            if self.watch.is_late():
                checkpoints.save(self.checkpoint())
                raise self.watch.lateness(self.step)
            self.take_step(hands)
            evaluated = self.step % self.interval == 0 or self.step == self.total_steps
            due = evaluated or time.monotonic() >= next_report  # the clock paces reports alone
            mean_loss = sum(self.losses) / len(self.losses) if due else math.nan
            if evaluated:
                self.laps.start()
                self.evaluate(mean_loss)
                self.laps.lap("evaluation")
            if every and self.step % every == 0 and self.step < self.total_steps:
                self.laps.start()
                checkpoints.save(self.checkpoint())
                self.laps.lap("checkpoints")
            if due:
                next_report = time.monotonic() + SECONDS_A_REPORT
                report(self.progress(mean_loss))
        return self.result()

    @property
    def stops_early(self) -> bool:
        """Whether the last evaluations have brought nothing better."""
        patience = self.recipe.early_stopping
        return bool(patience) and self.best.evaluations_since >= patience

    def take_step(self, hands: Hands) -> None:
        """One batch: its gradient, judged, and the update along it.

        Raises:
            TrainingError: it diverged.
        """
        step = self.step + 1
        rows = self.order.batch(step)
        loss = batch_gradient(
            self.model,
            self.parameters,
            self.lanes,
            rows,
            self.recipe.label_smoothing,
            hands,
        )
        self.laps.start()
        self.watch.check_gradient(step, loss, self.gradients.buffer)
        self.watch.check_loss(step, loss)
        self.optimizer.update(self.learning_rate(step), hands if len(self.lanes) > 1 else None)
        if self.average is not None:
            self.average.towards(self.parameters, 1 - self.recipe.average_at(step))
        self.laps.lap("update")
        self.losses.append(loss)
        self.step = step
        self._rows_done += size(rows)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        return self.recipe.learning_rate_at(step, self.total_steps)

    def model_parameters(self) -> Parameters:
        """The parameters as they would be published now: averaged and calibrated."""
        chosen = self.parameters if self.average is None else self.average
        blocks = (self.inputs[start : start + CALIBRATED] for start in self._calibrated)
        return self.model.calibrate(chosen.views, blocks)

    @property
    def _calibrated(self) -> range:
        return range(0, len(self.inputs), CALIBRATED)

    def evaluate(self, mean_loss: float) -> None:
        """Adds a line to the history; the watch looks at the parameters.

        Raises:
            TrainingError: they are not finite, or most units are dead.
        """
        self.watch.check_parameters(self.step, self.parameters.buffer)
        probe = self.inputs[:: SAMPLE // PROBE]
        self.watch.check_units(self.step, self.model.dead_units(self.parameters.views, probe))
        predictor = self.model.compile(self.model_parameters(), self.normalizer)
        self.history.append(
            {
                "step": self.step,
                "epoch": self.epoch,
                "loss": mean_loss,
                "learning_rate": self.learning_rate(self.step),
                **evaluate(predictor, self.sample, self.validation),
            }
        )
        self.losses.clear()
        if self.recipe.early_stopping:
            chosen = self.parameters if self.average is None else self.average
            self.best.offer(self.history[-1], chosen.buffer)

    @property
    def epoch(self) -> int:
        """The epoch of the last step, from 1."""
        return math.ceil(self.step / self.order.steps_per_epoch)

    def progress(self, mean_loss: float) -> Progress:
        """Where it stands."""
        accuracy = self.history[-1]["validation_accuracy"] if self.history else None
        rate = self.learning_rate(self.step)
        return Progress(self.step, self.total_steps, self.epoch, mean_loss, accuracy, rate)

    def lit(self) -> NDArray[np.bool_]:
        """(pixels,): which inputs were not a blank image's in a row of a batch so far.

        Where the normalizer is affine, input i is pixel i; another may move pixels about.
        """
        if self.lanes[0].loader.notes_lit:
            noted = np.stack([lane.loader.lit for lane in self.lanes])
            return np.asarray(noted.any(axis=0))
        seen = self.images[self.order.seen(self.step)]
        lit: NDArray[np.bool_] = np.bitwise_or.reduce(seen, axis=0) > 0
        return lit

    def result(self) -> TrainingResult:
        """The trained parameters: with early stopping those of the best evaluation."""
        if self.best.parameters is not None:
            chosen = self.parameters if self.average is None else self.average
            chosen.buffer[...] = self.best.parameters
        lit = self.lit()
        trained = {name: array.copy() for name, array in self.model_parameters().items()}
        trained = self.model.zero_unlit(trained, lit, self.normalizer)
        return TrainingResult(trained, self.history, self.step, lit, self.profile())

    def profile(self) -> Profile:
        """What this process did with its time; steps of an earlier one are not in it."""
        products = self.model.products(self.images.shape[1], self.parameters.views)
        operations = None if products is None else 2 * products * self._rows_done
        laps = [self.laps, *(lane.laps for lane in self.lanes)]
        return Profile.of(laps, self.step - self._begun_at, operations)

    def checkpoint(self) -> Checkpoint:
        """All that the next step depends on."""
        return Checkpoint(
            self.step,
            {name: array.copy() for name, array in self._arrays().items()},
            {
                "generators": {
                    name: generator_state(rng) for name, rng in self._generators.items()
                },
                "history": list(self.history),
                "losses": list(self.losses),
                "watch": self.watch.state,
                "best": self.best.state,
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on where a training with the same arguments was."""
        self.step = self.optimizer.step = self._begun_at = checkpoint.step
        arrays, facts = checkpoint.arrays, checkpoint.facts
        if "order" in arrays:
            self.order.current = arrays["order"].copy()
        self.best.restore(facts["best"], arrays.get("best"))
        for name, array in self._arrays().items():
            array[...] = arrays[name]
        for name, rng in self._generators.items():
            restore_generator(rng, facts["generators"][name])
        self.history[:] = facts["history"]
        self.losses[:] = facts["losses"]
        self.watch.restore(facts["watch"])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that make up the state, themselves."""
        found: dict[str, NDArray[Any]] = {"parameters": self.parameters.buffer}
        found |= {f"moment{n}": moment for n, moment in enumerate(self.optimizer.moments)}
        found |= {f"lit{n}": lane.loader.lit for n, lane in enumerate(self.lanes)}
        if self.average is not None:
            found["average"] = self.average.buffer
        if self.order.current is not None:
            found["order"] = self.order.current
        if self.best.parameters is not None:
            found["best"] = self.best.parameters
        return found
