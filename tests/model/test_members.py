from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_digits import CLASSES, PIXELS, toy_digits

from mnist_pipeline.errors import ConfigError, DataError, OutsideError, TrainingError
from mnist_pipeline.model import members
from mnist_pipeline.model.augment import Augmentation
from mnist_pipeline.model.checkpoint import Checkpoint
from mnist_pipeline.model.ensemble import Ensemble, own
from mnist_pipeline.model.members import means, train_members
from mnist_pipeline.model.normalize import FittedNormalizer, Scale
from mnist_pipeline.model.progress import Progress, TrainingResult
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train

SCALE = FittedNormalizer("scale.v1", Scale(), {"pixels": PIXELS})
IMAGES, LABELS = toy_digits(600)
VALIDATION = toy_digits(200, seed=1)
MIXED = Ensemble(
    ({"kind": "mlp", "hidden": [16], "dropout": 0.1}, {"kind": "cnn", "stages": [[3], [4]]}), 3
)
RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=0.01, augment=Augmentation(shift=1), seed=5)
ENDLESS = dataclasses.replace(RECIPE, epochs=None, iterations=10_000_000, checkpoint_every=20)


def run(
    ensemble: Ensemble = MIXED, recipe: Recipe = RECIPE, *, at_once: int, **options: Any
) -> TrainingResult:
    options = {"validation": VALIDATION, **options}
    return train_members(
        ensemble, IMAGES, LABELS, SCALE, recipe, classes=CLASSES, at_once=at_once, **options
    )


def same(one: TrainingResult, two: TrainingResult) -> bool:
    return (
        one.parameters.keys() == two.parameters.keys()
        and all(np.array_equal(one.parameters[n], two.parameters[n]) for n in one.parameters)
        and one.history == two.history
        and one.steps == two.steps
        and np.array_equal(one.lit, two.lit)
    )


class Kept:
    """Checkpoints in memory; `stop_after` so many of them, the training is interrupted."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.newest: Checkpoint | None = None
        self.saved, self.stop_after = 0, stop_after

    def load(self) -> Checkpoint | None:
        return self.newest

    def save(self, checkpoint: Checkpoint) -> None:
        self.newest, self.saved = checkpoint, self.saved + 1
        if self.saved == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def one_after_the_other() -> TrainingResult:
    return run(at_once=1)


@pytest.fixture
def no_children() -> Iterator[None]:
    """Afterwards there is no child of this process that was not there before."""
    before = children()
    yield
    assert children() <= before


def children(parent: int | None = None) -> set[int]:
    """The processes that are training for this one, or for another."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                facts = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(facts[1]) == (parent or os.getpid()) and b"model.worker" in words:
                found.add(int(folder.name))
    return found


def wait_until(happened: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("at_once", [2, 3])
def test_the_same_bits_however_many_learn_at_once(
    at_once: int, one_after_the_other: TrainingResult, no_children: None
) -> None:
    assert same(run(at_once=at_once), one_after_the_other)


def test_each_member_is_what_it_would_be_alone(one_after_the_other: TrainingResult) -> None:
    for n, seed in enumerate(MIXED.seeds(5)):
        recipe = dataclasses.replace(RECIPE, seed=seed)
        alone = train(
            MIXED.specs[n], IMAGES, LABELS, SCALE, recipe, classes=CLASSES, validation=VALIDATION
        )
        mine = own(one_after_the_other.parameters, n)
        assert mine.keys() == alone.parameters.keys()
        assert all(np.array_equal(mine[name], alone.parameters[name]) for name in mine)
        for line, own_line in zip(one_after_the_other.history, alone.history, strict=False):
            assert line["members"][n] == {
                key: own_line[key] for key in ("loss", "validation_accuracy")
            }


def test_the_history_is_the_mean_and_then_the_whole(one_after_the_other: TrainingResult) -> None:
    *lines, last = one_after_the_other.history
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for line in lines:
        for key in ("loss", "validation_accuracy"):
            expected = np.mean([member[key] for member in line["members"]])
            assert line[key] == pytest.approx(expected, rel=1e-12)
        assert "ensemble" not in line
    predictor = MIXED.compile(one_after_the_other.parameters, SCALE)
    accuracy = np.mean(predictor(VALIDATION[0]).argmax(axis=1) == VALIDATION[1])
    assert last["ensemble"] is True
    assert last["validation_accuracy"] == accuracy > 0.9
    assert last["accuracy"] > 0.9
    assert one_after_the_other.steps == sum(3 * 10 for _ in range(3))


def test_means_of_members_that_stopped_early() -> None:
    line = {"step": 1, "loss": 1.0, "accuracy": 0.5, "validation_accuracy": 0.5}
    line |= {"validation_loss": 2.0, "epoch": 1, "learning_rate": 0.1}
    longer = [line, {**line, "step": 2, "loss": 3.0}]
    first, second = means([[{**line, "loss": 2.0}], longer])
    assert first["loss"] == 1.5
    assert (second["step"], second["loss"]) == (2, 3.0)
    assert second["members"] == [None, {"loss": 3.0, "validation_accuracy": 0.5}]


@pytest.mark.parametrize("at_once", [1, 2])
def test_without_validation_rows(at_once: int) -> None:
    result = run(at_once=at_once, validation=(VALIDATION[0][:0], VALIDATION[1][:0]))
    assert [line["validation_accuracy"] for line in result.history] == [None] * 4


@pytest.mark.parametrize("at_once", [1, 3])
def test_progress_is_that_of_all(at_once: int) -> None:
    told: list[Progress] = []
    run(at_once=at_once, progress=told.append)
    assert told[-1].step == told[-1].total_steps == 90
    assert {each.total_steps for each in told} == {90}
    assert all(one.step <= two.step for one, two in itertools.pairwise(told))


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("stop_after", [1, 2])
def test_whoever_is_stopped_goes_on(
    at_once: int, stop_after: int, one_after_the_other: TrainingResult, no_children: None
) -> None:
    recipe = dataclasses.replace(RECIPE, checkpoint_every=7)
    kept = [Kept(stop_after if n == 1 else None) for n in range(3)]
    with pytest.raises(KeyboardInterrupt):
        run(recipe=recipe, at_once=at_once, checkpoints=kept.__getitem__)
    assert kept[1].newest is not None
    finished = [n for n, each in enumerate(kept) if each.newest and "finished" in each.newest.facts]
    saved = [each.saved for each in kept]
    assert same(
        run(recipe=recipe, at_once=3 - at_once, checkpoints=kept.__getitem__), one_after_the_other
    )
    assert all(kept[n].saved == saved[n] for n in finished), "a finished member learnt again"
    saved = [each.saved for each in kept]
    again = run(recipe=recipe, at_once=2, checkpoints=kept.__getitem__)
    assert same(again, one_after_the_other)
    assert [each.saved for each in kept] == saved


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_error_names_its_member(at_once: int, no_children: None) -> None:
    ensemble = Ensemble(({"kind": "softmax"}, {"kind": "mlp", "hidden": [16]}), 2)
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", learning_rate=1e30, epochs=50)
    with pytest.raises(TrainingError, match="diverged") as caught:
        run(ensemble, recipe, at_once=at_once)
    assert caught.value.facts["member"] in (0, 1)
    assert "learning_rate" in caught.value.facts
    early = dataclasses.replace(RECIPE, early_stopping=2)
    with pytest.raises(ConfigError, match="early stopping needs validation rows"):
        run(recipe=early, at_once=at_once, validation=None)
    with pytest.raises(DataError, match="outside the classes"):
        train_members(MIXED, IMAGES, LABELS, SCALE, RECIPE, classes=2, at_once=at_once)


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_deadline_is_that_of_the_whole(at_once: int, no_children: None) -> None:
    kept = [Kept() for _ in range(3)]
    recipe = dataclasses.replace(ENDLESS, checkpoint_every=0, deadline=1.0)
    started = time.monotonic()
    with pytest.raises(TrainingError, match="deadline of 1 seconds") as caught:
        run(recipe=recipe, at_once=at_once, checkpoints=kept.__getitem__)
    assert time.monotonic() - started < 20
    assert "member" in caught.value.facts
    # Everyone who was at work has left where it was.
    assert [each.saved for each in kept] == [1] * at_once + [0] * (3 - at_once)


def test_a_killed_child_is_an_error(no_children: None) -> None:
    def kill(progress: Progress) -> None:
        for child in children():
            os.kill(child, signal.SIGKILL)

    with pytest.raises(OutsideError, match="was killed") as caught:
        run(recipe=ENDLESS, at_once=2, progress=kill)
    assert caught.value.facts["by"] == "signal SIGKILL"
    assert caught.value.facts["member"] in (0, 1)
    assert "checkpoint" in caught.value.remedy


def test_rows_lie_in_the_scratch_folder_and_go(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(_: Progress) -> None:
        seen.extend(path.name for path in tmp_path.rglob("*.npy"))

    run(at_once=2, scratch=tmp_path, progress=look)
    assert "train-images.npy" in seen
    assert not list(tmp_path.iterdir())


def test_the_last_ones_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "cores", lambda: 2)
    assert [members._threads(place, 3, 2) for place in range(3)] == [1, 1, 2]
    assert [members._threads(place, 4, 2) for place in range(4)] == [1, 1, 1, 1]
    monkeypatch.setattr(members, "cores", lambda: 8)
    assert [members._threads(place, 3, 3) for place in range(3)] == [2, 2, 2]


SCRIPT = """
    import signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started pytest how
    sys.path.insert(0, {folder!r})
    from toy_digits import CLASSES, PIXELS, toy_digits
    print("the script begins", flush=True)
    from mnist_pipeline.model.ensemble import Ensemble
    from mnist_pipeline.model.members import train_members
    from mnist_pipeline.model.normalize import FittedNormalizer, Scale
    from mnist_pipeline.model.recipe import Recipe
    SCALE = FittedNormalizer("scale.v1", Scale(), {{"pixels": PIXELS}})
    recipe = Recipe(iterations={steps}, batch_size=64)
    ensemble = Ensemble({{"kind": "softmax"}}, 2)
    train_members(ensemble, *toy_digits(200), SCALE, recipe, classes=CLASSES, at_once=2)
    print("the script ends", flush=True)
"""


def script(tmp_path: Path, steps: int) -> list[str]:
    """A program without `if __name__ == "__main__"`."""
    file = tmp_path / "script.py"
    folder = str(Path(__file__).parent)
    file.write_text(textwrap.dedent(SCRIPT.format(folder=folder, steps=steps)))
    return [sys.executable, str(file)]


def test_a_script_is_not_run_again_by_its_children(tmp_path: Path) -> None:
    done = subprocess.run(script(tmp_path, 20), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["the script begins", "the script ends"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "ending",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_children_end_with_their_parent(ending: signal.Signals, tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        parent = subprocess.Popen(script(tmp_path, 10_000_000), stderr=file)
    try:
        wait_until(lambda: len(children(parent.pid)) == 2)
        orphans = children(parent.pid)
        time.sleep(0.5)  # they have begun
        assert parent.poll() is None
        parent.send_signal(ending)
        parent.wait(30)
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in orphans), 10)
        # A script shows its own interruption, and that is all.
        assert errors.read_text().count("Traceback") == (ending == signal.SIGINT)
    finally:
        parent.kill()
        parent.wait()
