"""Ensembles and views through the whole pipeline, undisturbed and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SETTING_WORDS, train_words

from mnist_pipeline import load_model
from mnist_pipeline.cli import main
from mnist_pipeline.model.ensemble import own
from mnist_pipeline.reporting import Silent
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

ENSEMBLE = ("model.kind=ensemble", "model.member.kind=mlp", "model.member.hidden=[16]")
COMMAND = [sys.executable, "-c", "from mnist_pipeline.cli import entry_point; entry_point()"]


class Ends(Silent):
    """Which stages ended, and whether what they made was made before."""

    def __init__(self) -> None:
        self.reused: dict[str, bool] = {}

    def end(self, stage: str, result: str, seconds: float, *, reused: bool) -> None:
        del result, seconds
        self.reused[stage] = reused


def model_json(workspace: Path, version: int) -> dict[str, Any]:
    files = Registry(Store.open(workspace)).manifest("digits", version).files
    return json.loads(Store.open(workspace).get(files["model.json"].key))


def weights(workspace: Path, version: int = 1) -> str:
    return (
        Registry(Store.open(workspace))
        .manifest("digits", version)
        .files["model.safetensors"]
        .digest
    )


def test_an_ensemble_becomes_a_version(train, idx_folder: Path, workspace: Path) -> None:
    result = train(f"idx:{idx_folder}", *ENSEMBLE)
    assert result.outcome.status == "promoted"
    assert model_json(workspace, 1)["members"] == ["mlp.v1"] * 3
    manifest = Registry(Store.open(workspace)).manifest("digits", 1)
    assert manifest.config["model"]["member"]["init"] == "he"  # resolved in full
    assert set(manifest.cost) == {"views", "microseconds"}
    bundle = load_model("digits", workspace)
    names = ("W1", "b1", "W2", "b2")
    assert set(bundle.parameters) == {f"{n}.{name}" for n in range(3) for name in names}
    images = np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8)
    members = [
        spec.compile(own(bundle.parameters, n), bundle.normalizer)(images)
        for n, spec in enumerate(bundle.spec.specs)
    ]
    np.testing.assert_allclose(
        bundle.predict(images).probabilities, np.mean(members, axis=0), atol=1e-6
    )
    report = Path(result.report).read_text()
    assert "all together" in report
    assert "mean of the members" in report
    assert "µs an image on one core" in report
    assert not list((workspace / "checkpoints").rglob("*.*"))
    assert not list((workspace / ".scratch").iterdir())


def test_views_train_nothing_anew(train, idx_folder: Path, workspace: Path, capsys) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8)
    answers = []
    for version, views in enumerate((1, 5, 9), start=1):
        ends = Ends()
        train(f"idx:{idx_folder}", f"predict.views={views}", reporter=ends)
        assert ends.reused["train"] == (views > 1)
        assert not ends.reused["evaluate"]
        expected = {} if views == 1 else {"views": views}
        assert model_json(workspace, version)["prediction"] == expected
        bundle = load_model(f"digits@{version}", workspace)
        assert bundle.views == views
        answers.append(bundle.predict(images).probabilities)
        assert main(["models", "show", f"digits@{version}", "--workspace", str(workspace)]) == 0
        words = f"{views} views, {views} times the cost of one"
        assert (words in capsys.readouterr().out) == (views > 1)
    assert weights(workspace, 1) == weights(workspace, 2) == weights(workspace, 3)
    assert not np.allclose(answers[0], answers[1], atol=1e-4)
    assert main(["models", "verify", "--workspace", str(workspace)]) == 0
    assert main(["reproduce", "digits@2", "--workspace", str(workspace)]) == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("predict.views=3", "predict.views = 3 is not valid"),
        ("predict.view=5", "unknown key 'predict.view'"),
        ("model.kind=ensemble", "needs the option 'member'"),
    ],
)
def test_mistakes_end_with_2(setting: str, words: str, workspace: Path, capsys) -> None:
    assert main(["train", "--workspace", str(workspace), "--set", setting]) == 2
    assert words in capsys.readouterr().err


def long(source: Path, workspace: Path) -> list[str]:
    """A training of three members that takes some seconds, and leaves checkpoints often."""
    settings = (*ENSEMBLE, "model.member.hidden=[128]", "train.batch_size=16")
    settings += ("train.epochs=120", "train.checkpoint_every=100")
    words = [word for setting in settings for word in ("--set", setting)]
    return [
        *COMMAND,
        *("train", "--engine", "plain", "--source", f"idx:{source}"),
        *("--workspace", str(workspace), *SETTING_WORDS, *words),
    ]


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def records(workspace: Path) -> list[dict[str, Any]]:
    """The newest checkpoint of every member that has one."""
    files = workspace.glob("checkpoints/*/member-*/checkpoint.json")
    return [json.loads(file.read_text())["facts"] for file in files]


def workers() -> set[int]:
    """Every process that trains a member, whosever it is."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and b"model.worker" in (folder / "cmdline").read_bytes():
                found.add(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("when", ["the first checkpoint", "a member is finished"])
def test_killed_and_gone_on(when: str, idx_folder: Path, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run(long(idx_folder, undisturbed), check=True, capture_output=True)

    def happened() -> bool:
        found = records(killed)
        return any("finished" in facts for facts in found) if "finished" in when else bool(found)

    with subprocess.Popen(long(idx_folder, killed), stderr=subprocess.DEVNULL) as process:
        wait_until(happened)
        assert process.poll() is None, "it has ended before it could be killed"
        process.kill()
    finished = sum("finished" in facts for facts in records(killed))
    assert finished < 3
    done = subprocess.run(long(idx_folder, killed), check=True, capture_output=True, text=True)
    assert ": promoted" in done.stdout
    assert weights(killed) == weights(undisturbed)
    histories = [next(w.glob("runs/*/history.json")) for w in (killed, undisturbed)]
    assert histories[0].read_bytes() == histories[1].read_bytes()
    assert not records(killed)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(ending: signal.Signals, idx_folder: Path, workspace: Path) -> None:
    before = workers()
    pipe = subprocess.PIPE
    command = long(idx_folder, workspace)
    with subprocess.Popen(command, stderr=pipe, text=True, process_group=0) as process:
        wait_until(lambda: records(workspace))
        os.killpg(process.pid, ending)  # as a terminal does
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; nothing is half-written" in errors
    assert "Traceback" not in errors
    assert not workers() - before
    assert records(workspace), "it has left nothing to go on from"
    assert not list((workspace / ".scratch").iterdir())


def test_gc_clears_what_members_of_a_training_given_up_have_left(
    idx_folder: Path, workspace: Path, capsys
) -> None:
    words = [word for setting in (*ENSEMBLE, "train.deadline=0.001") for word in ("--set", setting)]
    assert main([*train_words(idx_folder, workspace), *words]) == 4
    assert records(workspace)
    month_ago = time.time() - 30 * 86_400
    for path in workspace.rglob("*"):
        os.utime(path, (month_ago, month_ago))
    capsys.readouterr()
    assert main(["gc", "--workspace", str(workspace)]) == 0
    assert "trainings nobody went on with" in capsys.readouterr().out
    assert not records(workspace)
