"""Training an ensemble: every member as if it were alone, as many at once as there are cores.

Members share nothing but the rows, so the result is the same however many learn at once. What a
member leaves, on the way and at its end, is kept in checkpoints of its own: whoever is stopped goes
on with the members that are left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from mnist_pipeline.errors import PipelineError
from mnist_pipeline.model.batches import Images, Labels
from mnist_pipeline.model.checkpoint import Checkpoint, Checkpoints, NoCheckpoints
from mnist_pipeline.model.ensemble import Ensemble, joined
from mnist_pipeline.model.evaluation import evaluate
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.profile import Profile
from mnist_pipeline.model.progress import Progress, TrainingResult, ignore
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.threads import cores
from mnist_pipeline.model.trainer import train
from mnist_pipeline.model.training import SAMPLE
from mnist_pipeline.model.worker import Task, Worker, save_rows

MEANS = ("loss", "accuracy", "validation_accuracy", "validation_loss")


def train_members(
    ensemble: Ensemble,
    images: Images,
    labels: Labels,
    normalizer: FittedNormalizer,
    recipe: Recipe,
    *,
    classes: int,
    shape: tuple[int, int] | None = None,
    validation: tuple[Images, Labels] | None = None,
    progress: Callable[[Progress], None] = ignore,
    checkpoints: Callable[[int], Checkpoints] = lambda _: NoCheckpoints(),
    scratch: Path | None = None,
    at_once: int | None = None,
) -> TrainingResult:
    """Train all members. Same arguments, same bits, whoever stopped it how often.

    Args:
        ensemble: what to train.
        images: see `trainer.train`, as for all that is not said here.
        labels: of each image.
        normalizer: fitted on these rows.
        recipe: of every member, which has a seed of its own in place of the recipe's.
        classes: how many there are.
        shape: of an image.
        validation: (images, labels) to evaluate on.
        progress: called with the steps of all members together.
        checkpoints: those of a member, by its number.
        scratch: where the rows are put for processes to share; None for the system's folder.
        at_once: how many may learn at the same time; None for as many as there are cores.

    Returns:
        Its history holds the means of the members' evaluations (those of each in `members`) and a
        last line with `ensemble` true, which is about all of them together.

    Raises:
        DataError, ConfigError, TrainingError: see `trainer.train`; with the member it happened to.
        OutsideError: the process of a member was killed.
    """
    if validation is not None and len(validation[0]) == 0:
        validation = None
    course = _Course(ensemble, recipe, progress, [checkpoints(n) for n in range(ensemble.members)])
    waiting = [n for n in range(ensemble.members) if n not in course.results]
    at_once = min(at_once or cores(), len(waiting))
    common: dict[str, Any] = {"normalizer": normalizer, "classes": classes, "shape": shape}
    started = time.monotonic()
    if at_once < 2:
        for n in waiting:
            with _named(n):
                result = train(
                    ensemble.specs[n],
                    images,
                    labels,
                    **common,
                    recipe=course.recipes[n],
                    validation=validation,
                    progress=lambda stands, n=n: course.tell(n, stands),  # type: ignore[misc]
                    checkpoints=course.kept[n],
                    started=started,
                )
            course.finish(n, result)
    else:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            rows = Path(folder)
            save_rows(rows, (images, labels), validation)
            tasks = {
                n: Task(
                    model=ensemble.specs[n],
                    rows=rows,
                    recipe=course.recipes[n],
                    threads=_threads(place, len(waiting), at_once),
                    started=started,
                    checkpoint=course.kept[n].load(),
                    **common,
                )
                for place, n in enumerate(waiting)
            }
            _side_by_side(tasks, course, at_once)
    results = [course.results[n] for n in range(ensemble.members)]
    parameters = joined(result.parameters for result in results)
    history = means([result.history for result in results])
    chosen = np.random.default_rng(recipe.seed).permutation(len(labels))[:SAMPLE]
    predictor = ensemble.compile(parameters, normalizer)
    together = evaluate(predictor, (images[chosen], labels[chosen]), validation)
    history.append({**history[-1], **together, "ensemble": True})
    lit = np.any([result.lit for result in results], axis=0)
    profile = Profile.together([result.profile for result in results])
    steps = sum(result.steps for result in results)
    return TrainingResult(parameters, history, steps, lit, profile)


class _Course:
    """How far the members are: what is finished, what is told.

    Attributes:
        recipes, kept: of each member.
        results: of those that are finished, also of a run before this one.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        recipe: Recipe,
        progress: Callable[[Progress], None],
        kept: Sequence[Checkpoints],
    ) -> None:
        self.recipes = [
            dataclasses.replace(recipe, seed=seed) for seed in ensemble.seeds(recipe.seed)
        ]
        self.kept, self._progress = kept, progress
        self.results: dict[int, TrainingResult] = {}
        self._stand: dict[int, Progress] = {}
        for n, each in enumerate(kept):
            checkpoint = each.load()
            if checkpoint and checkpoint.facts.get("finished"):
                self.results[n] = _result(checkpoint)

    def tell(self, n: int, stands: Progress) -> None:
        """Reports all members, of which one has gone on."""
        self._stand[n] = stands
        done = sum(
            stands.total_steps if m in self.results else self._stand[m].step
            for m in {*self.results, *self._stand}
        )
        known = [each for m, each in self._stand.items() if m not in self.results] or [stands]
        accuracies = [a for each in known if (a := each.validation_accuracy) is not None]
        self._progress(
            Progress(
                step=done,
                total_steps=stands.total_steps * len(self.kept),
                epoch=stands.epoch,
                loss=_mean([each.loss for each in known]),
                validation_accuracy=_mean(accuracies) if accuracies else None,
                learning_rate=stands.learning_rate,
            )
        )

    def finish(self, n: int, result: TrainingResult) -> None:
        """Keeps what a member has become, so that it need not be trained again."""
        self.kept[n].save(_checkpoint(result))
        self.results[n] = result


def _side_by_side(tasks: dict[int, Task], course: _Course, at_once: int) -> None:
    """Every task in a process of its own, some at a time; none is left behind, whatever happens."""
    waiting = list(tasks)
    running: dict[Any, tuple[int, Worker]] = {}
    failed: PipelineError | None = None
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < at_once:
                n = waiting.pop(0)
                worker = Worker(tasks[n])
                running[worker.connection] = n, worker
            for connection in wait(list(running)):
                n, worker = running[connection]
                match worker.receive():
                    case Progress() as stands:
                        course.tell(n, stands)
                    case Checkpoint() as checkpoint:
                        course.kept[n].save(checkpoint)
                    case TrainingResult() as result:
                        course.finish(n, result)
                        running.pop(connection)[1].end()
                    case PipelineError() as error:
                        running.pop(connection)[1].end()
                        failed = failed or _of_member(error, n)
                        deadline = course.recipes[n].deadline
                        if deadline is None or time.monotonic() - tasks[n].started < deadline:
                            raise failed
                        # The others are late as well: each leaves a checkpoint before it ends.
        if failed:
            raise failed
    finally:
        for _, worker in running.values():
            worker.end()


def _threads(place: int, members: int, at_once: int) -> int:
    """Cores for the member that is the `place`-th to start: the last ones may have some to spare.

    The result depends on it no more than on anything else that is measured in seconds.
    """
    first = place - place % at_once
    return max(1, cores() // min(at_once, members - first))


def means(histories: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One history from the members': the mean of those that still learned, each in `members`."""
    lines = []
    for records in zip_longest(*histories):
        there = [record for record in records if record is not None]
        line = dict(there[0])
        for key in MEANS:
            values = [record[key] for record in there]
            line[key] = None if None in values else _mean(values)
        keys = ("loss", "validation_accuracy")
        line["members"] = [record and {key: record[key] for key in keys} for record in records]
        lines.append(line)
    return lines


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _checkpoint(result: TrainingResult) -> Checkpoint:
    # In C order: safetensors writes memory as it lies.
    arrays = {f"parameter {name}": np.array(a, order="C") for name, a in result.parameters.items()}
    profile = result.profile.to_json()
    facts = {"finished": True, "history": result.history, "profile": profile}
    return Checkpoint(result.steps, {**arrays, "lit": result.lit}, facts)


def _result(checkpoint: Checkpoint) -> TrainingResult:
    """The inverse of `_checkpoint`."""
    arrays = checkpoint.arrays
    parameters = {
        name.removeprefix("parameter "): array
        for name, array in arrays.items()
        if name.startswith("parameter ")
    }
    facts = checkpoint.facts
    return TrainingResult(
        parameters,
        list(facts["history"]),
        checkpoint.step,
        arrays["lit"],
        Profile(**facts["profile"]),
    )


@contextlib.contextmanager
def _named(n: int) -> Iterator[None]:
    """Inside, errors say to which member they happened."""
    try:
        yield
    except PipelineError as error:
        _of_member(error, n)
        raise


def _of_member(error: PipelineError, n: int) -> PipelineError:
    error.facts = {"member": n, **error.facts}
    return error
