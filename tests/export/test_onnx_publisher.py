"""The publisher `onnx`: a file a version, the same as `models export` writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from export_samples import ask

from mnist_pipeline.cli import main
from mnist_pipeline.export.onnx_file import onnx_file
from mnist_pipeline.export.onnx_publisher import Onnx
from mnist_pipeline.store.bundles import load_model
from mnist_pipeline.store.objects import Store
from mnist_pipeline.testing import check_publisher
from mnist_pipeline.testing.publishers import small_version


def test_it_keeps_its_promises(tmp_path: Path) -> None:
    check_publisher(Onnx(str(tmp_path / "onnx")))
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == ["digits-1.onnx"]


def test_in_a_bucket_too(bucket: str, workspace: Path) -> None:
    publisher = Onnx(f"{bucket}/onnx/")
    check_publisher(publisher)
    version = small_version(Store.open(workspace))
    assert publisher.publish(version) == f"{bucket}/onnx/digits-1.onnx"
    assert Store.open(bucket).get("onnx/digits-1.onnx") == onnx_file(version).data


def test_a_run_publishes_and_makes_up_for_what_was_missing(
    train, idx_folder, tmp_path: Path, workspace: Path, digits, monkeypatch, capsys
) -> None:
    folder = tmp_path / "onnx"
    words = (f"idx:{idx_folder}", "publish.to=onnx", f"publish.onnx.folder={folder}")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxruntime", None)
        first = train(*words)
    assert (first.outcome.status, first.exit_code) == ("promoted", 6)
    (told,) = first.to_json()["published"]
    assert told["error"]["headline"] == "onnxruntime is not installed"
    assert "pip install 'mnist-pipeline[onnx]'" in told["error"]["remedy"]
    assert not folder.exists()
    again = train(*words)
    assert (again.outcome.status, again.exit_code) == ("unchanged", 0)
    labels, _ = ask(str(folder / "digits-1.onnx"), digits[0])
    assert labels.tolist() == load_model("digits", workspace).predict(digits[0]).labels.tolist()
    arguments = ["models", "export", "digits@1", "--format", "onnx", "--workspace", str(workspace)]
    assert main([*arguments, "--output", str(tmp_path / "exported.onnx")]) == 0
    exported = (tmp_path / "exported.onnx").read_bytes()
    assert exported == (folder / "digits-1.onnx").read_bytes()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("folder", "code", "words"),
    [
        ("/proc/onnx", 6, "the folder cannot be written"),
        ("ftp://host/onnx", 2, "the folder cannot be on ftp://"),
        (None, 2, "needs the option 'folder'"),
    ],
)
def test_a_folder_that_cannot_be(workspace: Path, capsys, folder, code: int, words: str) -> None:
    small_version(Store.open(workspace))
    options = ["--set", f"folder={folder}"] if folder else []
    arguments = ["models", "publish", "digits@1", "--to", "onnx", *options, "--json"]
    assert main([*arguments, "--workspace", str(workspace)]) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert words in error["headline"]
    assert "--folder" not in error["remedy"]
