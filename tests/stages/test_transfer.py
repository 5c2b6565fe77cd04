"""Transfer: a model that saw only drawings is shown real handwriting, where that is at hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small import SETTING_WORDS

from mnist_pipeline.cli import main
from mnist_pipeline.sources import mnist
from mnist_pipeline.sources.download import Wanted

FEW = "synthetic:n=600,seed=2"


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("MNIST_PIPELINE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def real(idx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose t10k files, 200 images, take the place of MNIST's."""
    wanted = []
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        data = (idx_folder / name).read_bytes()
        wanted.append(Wanted(f"{name}.gz", hashlib.sha256(data).hexdigest(), len(data)))
    monkeypatch.setattr(mnist, "EXAM", tuple(wanted))
    return idx_folder


def test_files_that_come_to_hand_later_are_read_though_nothing_else_changed(
    train: Any, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(FEW)
    assert first.drawn
    assert first.outcome.transfer is None
    monkeypatch.setenv("MNIST_DATA_DIR", str(real))
    again = train(FEW)
    assert again.outcome.status == "unchanged"
    transfer = again.outcome.transfer
    assert (transfer.n, transfer.name) == (200, "MNIST's test images")
    assert 0.3 < transfer.accuracy < 1
    assert again.to_json()["transfer"] == transfer.to_json()
    assert train(FEW, force="train").outcome.transfer == transfer


@pytest.mark.parametrize("where", ["environment", "workspace", "cache"])
def test_it_looks_wherever_the_source_mnist_keeps_its_files(
    train: Any,
    real: Path,
    where: str,
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = {"workspace": workspace / "downloads" / "mnist", "cache": tmp_path / "cache"}
    if where == "environment":
        monkeypatch.setenv("MNIST_DATA_DIR", str(real))
    else:
        shutil.copytree(real, folders[where])
    assert train(FEW).outcome.transfer.n == 200


def test_other_files_under_those_names_are_not_taken(
    train: Any, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_DATA_DIR", str(real))
    labels = real / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x07")
    assert train(FEW).outcome.transfer is None


def test_real_data_among_the_drawings_is_judged_by_the_exam_alone(
    train: Any, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_DATA_DIR", str(real))
    result = train([FEW, f"idx:{real}"])
    assert not result.drawn
    assert result.outcome.transfer is None


def test_the_first_command_ends_with_what_was_learnt_from(
    real: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--source", FEW, "--engine", "plain", "--workspace", str(workspace)]
    assert main([*words, *SETTING_WORDS]) == 0
    told = capsys.readouterr().out
    assert "trained and tested on drawings" in told
    assert "--source mnist" in told
    monkeypatch.setenv("MNIST_DATA_DIR", str(real))
    assert main([*words, *SETTING_WORDS]) == 0
    told = capsys.readouterr().out
    assert "of 200 real ones (MNIST's test images) it reads" in told
    assert main([*words, *SETTING_WORDS, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["transfer"]["n"] == 200
