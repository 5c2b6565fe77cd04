"""The stage `train`: deadlines, and checkpoints that only the same training goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import SETTINGS, train_words

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.errors import TrainingError
from mnist_pipeline.pipeline import run_pipeline
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

# 25 steps an epoch, and long enough that a tenth of a second is well within it.
LONG = ("model.kind=mlp", "model.hidden=[16]", "train.batch_size=16", "train.epochs=80")
LATE = ("train.deadline=0.1",)


def checkpoints_in(workspace: Path) -> list[Path]:
    return sorted(path for path in (workspace / "checkpoints").rglob("*") if path.is_file())


def record_in(workspace: Path) -> dict[str, Any]:
    (path,) = (workspace / "checkpoints").glob("*/checkpoint.json")
    return json.loads(path.read_bytes())


def weights(workspace: Path) -> str:
    """The digest of the weights of digits@1."""
    manifest = Registry(Store.open(workspace)).manifest("digits", 1)
    return manifest.files["model.safetensors"].digest


@pytest.fixture
def undisturbed(idx_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """The weights that a training of these settings ends with where nobody disturbs it."""

    def train(*settings: str) -> str:
        store = Store.open(tmp_path / "undisturbed")
        layers = [parse_setting(setting) for setting in (*SETTINGS, *settings)]
        config = resolve([*layers, {"data": {"sources": [f"idx:{idx_folder}"]}}])
        run_pipeline(Run(store, config))
        return weights(tmp_path / "undisturbed")

    return train


def test_a_deadline_ends_with_4_and_the_next_run_goes_on(
    idx_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late, undisturbed = tmp_path / "late", tmp_path / "undisturbed"
    settings = [word for setting in LONG for word in ("--set", setting)]
    words = [*train_words(idx_folder, late), *settings]
    assert main([*words, "--set", *LATE]) == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "training"
    assert "deadline" in error["headline"]
    assert "goes on" in error["remedy"]
    assert Registry(Store.open(late)).versions("digits") == []
    record = record_in(late)
    assert record["step"] == error["facts"]["step"] < error["facts"]["total_steps"]

    assert main(words) == 0
    assert checkpoints_in(late) == []
    assert main([*train_words(idx_folder, undisturbed), *settings]) == 0
    assert weights(late) == weights(undisturbed)


def test_the_next_run_does_not_begin_again(train: Any, idx_folder: Path, workspace: Path) -> None:
    source, longer = f"idx:{idx_folder}", (*LONG, "train.epochs=2000")
    with pytest.raises(TrainingError):
        train(source, *longer, *LATE)
    first = record_in(workspace)["step"]
    with pytest.raises(TrainingError) as caught:
        train(source, *longer, *LATE)
    assert first < caught.value.facts["step"] == record_in(workspace)["step"]
    assert len(checkpoints_in(workspace)) == 2  # the newest alone


@pytest.mark.slow
@pytest.mark.parametrize("other", ["train.seed=7", "model.hidden=[17]", "train.l2=0.001"])
def test_another_training_does_not_touch_it(
    train: Any, idx_folder: Path, workspace: Path, undisturbed: Callable[..., str], other: str
) -> None:
    source, shorter = f"idx:{idx_folder}", (*LONG, "train.epochs=3")
    with pytest.raises(TrainingError):
        train(source, *shorter, "train.deadline=1e-9")
    left = checkpoints_in(workspace)
    assert len(left) == 2
    train(source, *shorter, other)
    assert checkpoints_in(workspace) == left
    assert weights(workspace) == undisturbed(*shorter, other)


@pytest.mark.slow
def test_other_data_are_another_training(
    train: Any, idx_folder: Path, workspace: Path, undisturbed: Callable[..., str]
) -> None:
    shorter = (*LONG, "train.epochs=3", "data.validation_fraction=0.2")
    with pytest.raises(TrainingError):
        train(f"idx:{idx_folder}", *LONG, "train.epochs=3", "train.deadline=1e-9")
    left = checkpoints_in(workspace)
    train(f"idx:{idx_folder}", *shorter)
    assert checkpoints_in(workspace) == left
    assert weights(workspace) == undisturbed(*shorter)


@pytest.mark.slow
def test_paces_are_no_part_of_the_training(train: Any, idx_folder: Path, workspace: Path) -> None:
    source, shorter = f"idx:{idx_folder}", (*LONG, "train.epochs=3")
    train(source, *shorter)
    for pace in ("train.checkpoint_every=1", "train.checkpoint_every=0", "train.deadline=1000"):
        train(source, *shorter, pace)
    memos = [path.read_text() for path in (workspace / "stages").iterdir()]
    assert sum('"stage": "train"' in memo for memo in memos) == 1


@pytest.mark.slow
@pytest.mark.parametrize("what", ["arrays", "record"])
def test_a_damaged_checkpoint_is_ignored(
    train: Any, idx_folder: Path, workspace: Path, undisturbed: Callable[..., str], what: str
) -> None:
    source = f"idx:{idx_folder}"
    with pytest.raises(TrainingError):
        train(source, *LONG, *LATE)
    arrays, record = checkpoints_in(workspace)
    assert (arrays.suffix, record.name) == (".safetensors", "checkpoint.json")
    if what == "arrays":
        data = bytearray(arrays.read_bytes())
        data[-3] ^= 0x40  # a weight, a little
        arrays.write_bytes(data)
    else:
        record.write_text(record.read_text().replace('"has_uint32": 0', '"has_uint32": 1'))
    train(source, *LONG)
    assert checkpoints_in(workspace) == []
    assert weights(workspace) == undisturbed(*LONG)


def test_a_forced_training_begins_at_the_beginning(train: Any, idx_folder: Path) -> None:
    source = f"idx:{idx_folder}"
    with pytest.raises(TrainingError):
        train(source, *LONG, *LATE)
    with pytest.raises(TrainingError) as caught:
        train(source, *LONG, "train.deadline=1e-9", force="train")
    assert caught.value.facts["step"] == 0


@pytest.mark.slow
def test_a_remembered_training_clears_what_a_killed_one_left(
    train: Any, idx_folder: Path, workspace: Path
) -> None:
    """Killed between the memo and the clearing: the next run has nothing to train, and clears."""
    source, shorter = f"idx:{idx_folder}", (*LONG, "train.epochs=3")
    with pytest.raises(TrainingError):
        train(source, *shorter, "train.deadline=1e-9")
    left = {path: path.read_bytes() for path in checkpoints_in(workspace)}
    train(source, *shorter)
    for path, data in left.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    train(source, *shorter, "gate.min_accuracy=0.001")  # killed before it published, that is
    assert checkpoints_in(workspace) == []
