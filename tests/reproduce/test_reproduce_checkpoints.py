"""A reproduction is made from the data alone: a checkpoint that lies about is not looked at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from reproduce_samples import again, state_of, statuses

from mnist_pipeline.errors import TrainingError
from mnist_pipeline.model.checkpoint import Checkpoint
from mnist_pipeline.store.checkpoints import StoredCheckpoints
from mnist_pipeline.store.objects import Store

LONG = ("train.epochs=30", "train.batch_size=16", "train.checkpoint_every=1000")


def leave_a_wrong_checkpoint(workspace: Path) -> None:
    """Alters the weights in the checkpoint that lies there."""
    (record,) = (workspace / "checkpoints").glob("*/checkpoint.json")
    checkpoints = StoredCheckpoints(Store.open(workspace), record.parent.name)
    found = checkpoints.load()
    assert isinstance(found, Checkpoint)
    arrays = {**found.arrays, "parameters": found.arrays["parameters"] + 1}
    checkpoints.save(dataclasses.replace(found, arrays=arrays))


def test_it_does_not_go_on_from_a_checkpoint(train, idx_folder: Path, workspace: Path) -> None:
    source = f"idx:{idx_folder}"
    train(source, *LONG)
    with pytest.raises(TrainingError):
        train(source, *LONG, "train.deadline=1e-9", force="train")
    leave_a_wrong_checkpoint(workspace)
    before = state_of(workspace)
    found = again(workspace)
    assert set(statuses(found)) == {"identical"}
    assert state_of(workspace) == before
