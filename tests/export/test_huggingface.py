"""A folder for Hugging Face's hub: what the card claims was measured, and what it shows runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mnist_pipeline import load_folder
from mnist_pipeline.cli import main
from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.export.huggingface import MNIST_EXAM, OWN
from mnist_pipeline.sources.idx import Idx
from mnist_pipeline.store.bundles import load_model
from mnist_pipeline.store.exams import exam_digest
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

FILES = [
    "README.md",
    "SHA256SUMS",
    "config.json",
    "contract.json",
    "golden.parquet",
    "model.json",
    "model.safetensors",
    "normalizer.json",
]


@pytest.fixture
def export(train, idx_folder, workspace, tmp_path, capsys) -> Any:
    """`export("--license", "mit")`: exit code, JSON object, folder; of `digits@1`."""
    train(f"idx:{idx_folder}")

    def run(*words: str, output: str | None = None, format: str = "huggingface") -> Any:
        folder = output or str(tmp_path / "hub")
        line = ["models", "export", "digits@1", "--format", format, "--output", folder, *words]
        capsys.readouterr()
        code = main([*line, "--workspace", str(workspace), "--json"])
        return code, json.loads(capsys.readouterr().out), Path(folder)

    return run


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """The metadata of a model card, and its text."""
    _, header, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), text


def test_the_folder_is_the_model(export, workspace: Path, digits) -> None:
    code, told, folder = export()
    assert (code, told["files"]) == (0, FILES)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert all(OWN.fullmatch(name) for name in FILES)
    here, there = load_folder(folder).predict(digits[0]), load_model("digits", workspace)
    assert np.array_equal(here.probabilities, there.predict(digits[0]).probabilities)
    assert json.loads((folder / "config.json").read_text())["id2label"]["7"] == "7"


def test_the_card_tells_what_was_measured(export, workspace: Path, idx_folder: Path) -> None:
    _, _, folder = export("--license", "mit")
    manifest = Registry(Store.open(workspace)).find("digits")
    header, text = card(folder)
    assert (header["license"], header["library_name"]) == ("mit", "mnist-pipeline")
    (model,) = header["model-index"]
    (results,) = model["results"]
    assert results["dataset"] == {"name": "exam of digits", "type": "other"}  # not MNIST's
    assert {m["type"]: m["value"] for m in results["metrics"]} == {
        "accuracy": manifest.metrics["accuracy"],
        "log_loss": manifest.metrics["log_loss"],
        "expected_calibration_error": manifest.metrics["ece"],
    }
    assert f"{manifest.metrics['accuracy']:.4f}" in text
    assert "200 images that were set aside" in text
    assert "*promote*" in text
    assert "datasets" not in header  # nobody knows where these files came from
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert str(idx_folder).encode() not in everything


def test_what_the_card_shows_runs(export, monkeypatch, capsys) -> None:
    _, _, folder = export()
    (code,) = re.findall(r"```python\n(.*?)```", card(folder)[1], re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code, {})
    assert re.fullmatch(r"\[\d\] \[[\d.]+\]\n", capsys.readouterr().out)


def test_without_a_license_the_card_names_none(export) -> None:
    _, _, folder = export()
    assert "license" not in card(folder)[0]


def test_the_same_version_gives_the_same_bytes(export, tmp_path: Path) -> None:
    _, _, one = export()
    _, _, two = export(output=str(tmp_path / "again"))
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in FILES)


def test_only_such_a_folder_is_replaced(export, tmp_path: Path) -> None:
    _, _, folder = export()
    code, told, _ = export()
    assert (code, "--overwrite" in told["error"]["remedy"]) == (2, True)
    assert export("--overwrite")[0] == 0
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    code, told, _ = export("--overwrite")
    assert (code, told["error"]["facts"]["file"]) == (2, ".git/HEAD")
    assert (folder / ".git" / "HEAD").exists()


def test_mistakes(export, tmp_path: Path) -> None:
    assert export(output="s3://bucket/hub")[0] == 2
    code, told, _ = export("--license", "mit", format="onnx")
    assert (code, told["error"]["headline"]) == (2, "--license means nothing to --format onnx")
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "golden.parquet"])
def test_a_folder_with_a_missing_or_damaged_file_is_no_model(export, name: str) -> None:
    _, _, folder = export()
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (folder / name).write_bytes(data)
    with pytest.raises(IntegrityError):
        load_folder(folder)
    (folder / name).unlink()
    with pytest.raises(IntegrityError, match="is not the folder of a model"):
        load_folder(folder)


@pytest.mark.integration
def test_mnists_test_images_are_known_by_their_digest() -> None:
    folder = os.environ.get("MNIST_DATA_DIR")
    if not folder:
        pytest.skip("needs MNIST: MNIST_DATA_DIR")
    (part,) = (part for part in Idx(folder).parts() if part.role == "exam")
    blocks = list(part.read(ImageContract()))
    digests = row_digests(np.concatenate([block.images for block in blocks]))
    labels = np.concatenate([block.labels for block in blocks]).astype(np.uint8)
    assert exam_digest(digests, labels) == MNIST_EXAM
