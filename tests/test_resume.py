"""Trainings killed with SIGKILL at random moments end with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small import train_words

from mnist_pipeline.store.bundles import verify_version
from mnist_pipeline.store.objects import SCRATCH, Store
from mnist_pipeline.store.registry import Registry

KILLS = 5

BENT = [
    "train.augment.rotation=8",
    "train.augment.shift=1",
    "train.augment.elastic=0.7",
]
TRAININGS: dict[str, list[str]] = {
    "mlp": [
        "model.kind=mlp",
        "model.hidden=[64,32]",
        "model.dropout=0.2",
        "normalize.kind=deskew",
        "train.optimizer=adamw",
        "train.l2=0.01",
        "train.average=0.99",
        "train.batch_size=32",
        "train.epochs=200",
        *BENT,
    ],
    "cnn": [
        "model.kind=cnn",
        "model.stages=[[4],[6]]",
        "model.hidden=[16]",
        "model.dropout=0.3",
        "normalize.kind=standardize",
        "train.label_smoothing=0.05",
        "train.batch_size=64",
        "train.epochs=60",
        *BENT,
    ],
    "early stopping": [
        "model.kind=mlp",
        "model.hidden=[64]",
        "train.optimizer=momentum",
        "train.batch_size=16",
        "train.epochs=400",
        "train.early_stopping=120",
    ],
    "full batch, two lanes": [
        "model.kind=mlp",
        "model.hidden=[128]",
        "model.dropout=0.1",
        "train.batch_size=0",
        "train.epochs=null",
        "train.iterations=800",
    ],
}


def command(source: str, workspace: Path, settings: list[str]) -> list[str]:
    words = train_words(Path("unused"), workspace)
    words[words.index("--source") + 1] = source
    settings = [*settings, "train.checkpoint_every=7"]
    words += [word for setting in settings for word in ("--set", setting)]
    return [str(Path(sys.executable).with_name("mnist-pipeline")), *words]


def step_in(workspace: Path) -> int:
    """The step of the checkpoint that lies in a workspace; -1 without one."""
    for path in (workspace / "checkpoints").glob("*/checkpoint.json"):
        try:
            return int(json.loads(path.read_bytes())["step"])
        except (OSError, ValueError):
            pass
    return -1


def checkpoints_in(workspace: Path) -> list[Path]:
    """Files of checkpoints; halves of files, which the store's writer marks so, are left to gc."""
    found = (workspace / "checkpoints").glob("*/*")
    return [path for path in found if "#" not in path.name]


def digests(workspace: Path) -> dict[str, str]:
    """What digits@1 consists of, without the report, which bears a date; and its history."""
    store = Store.open(workspace)
    manifest = Registry(store).manifest("digits", 1)
    verify_version(store, manifest)
    found = {name: ref.digest for name, ref in manifest.files.items() if name != "report.html"}
    (memo,) = [
        memo
        for path in (workspace / "stages").iterdir()
        if (memo := json.loads(path.read_bytes()))["stage"] == "train"
    ]
    return found | {"history": memo["outputs"]["history.json"]["digest"]}


def killed_after(run: list[str], workspace: Path, rng: random.Random) -> bool:
    """Starts a training and kills it at a random moment; says whether it was still running.

    Every other time that moment lies shortly after it has got further than all before.
    """
    before = step_in(workspace)
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        if rng.random() < 0.25:
            time.sleep(rng.uniform(0.2, 1.5))
        else:
            while process.poll() is None and step_in(workspace) <= before:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.2))
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
    return running


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a folder: a kill is no power cut, and fsync is most of it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.integration
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TRAININGS)
def test_killed_again_and_again(name: str, scratch: Path, idx_folder: Path) -> None:
    rng, settings = random.Random(name), TRAININGS[name]
    # Enough rows for two lanes where a batch is all of them.
    source = "synthetic:n=1200,seed=2" if "lanes" in name else f"idx:{idx_folder}"
    undisturbed, disturbed = scratch / "undisturbed", scratch / "disturbed"
    subprocess.run(command(source, undisturbed, settings), check=True, capture_output=True)
    assert checkpoints_in(undisturbed) == []

    run = command(source, disturbed, settings)
    steps = [-1]
    for _ in range(KILLS):
        if not killed_after(run, disturbed, rng):
            break
        steps.append(step_in(disturbed))
        assert Registry(Store.open(disturbed)).versions("digits") == []
    assert steps == sorted(steps)
    assert len(set(steps)) > 2  # it was killed at work, and went on from there
    subprocess.run(run, check=True, capture_output=True)
    assert digests(disturbed) == digests(undisturbed)
    assert checkpoints_in(disturbed) == []
    assert not any((disturbed / SCRATCH).iterdir())
