"""`models export`: a whole file or none, on disk and in a bucket; every mistake explained."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from export_samples import ask

from mnist_pipeline.cli import main
from mnist_pipeline.refs import sha256
from mnist_pipeline.store.bundles import load_model
from mnist_pipeline.store.objects import Store
from mnist_pipeline.testing.publishers import small_version

Answer = tuple[int, dict[str, Any]]
Export = Callable[..., Answer]


@pytest.fixture
def export(workspace: Path, capsys) -> Export:
    """Runs `models export digits@1 --format onnx --output …` with --json."""

    def run(output: str | Path, *words: str, reference: str = "digits@1") -> Answer:
        given = ["models", "export", reference, "--format", "onnx", "--output", str(output)]
        code = main([*given, *words, "--json", "--workspace", str(workspace)])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def version(workspace: Path) -> None:
    """digits@1, small."""
    small_version(Store.open(workspace))


@pytest.mark.usefixtures("version")
def test_a_file_that_answers_as_the_version_does(
    export: Export, tmp_path: Path, workspace: Path, digits
) -> None:
    file = tmp_path / "new" / "digits.onnx"
    code, answer = export(file)
    assert code == 0
    assert {key: answer[key] for key in ("model", "version", "format", "output")} == {
        "model": "digits",
        "version": 1,
        "format": "onnx",
        "output": str(file),
    }
    assert answer["digest"] == sha256(file.read_bytes())
    assert answer["size"] == file.stat().st_size
    assert answer["largest_difference"] <= 1e-5
    labels, _ = ask(str(file), digits[0])
    assert labels.tolist() == load_model("digits@1", workspace).predict(digits[0]).labels.tolist()
    assert [path.name for path in file.parent.iterdir()] == ["digits.onnx"]


@pytest.mark.usefixtures("version")
def test_what_is_there_stays_unless_it_may_be_replaced(export: Export, tmp_path: Path) -> None:
    file = tmp_path / "digits.onnx"
    file.write_bytes(b"mine")
    code, answer = export(file)
    assert (code, answer["error"]["headline"]) == (2, "digits.onnx exists already")
    assert "--overwrite" in answer["error"]["remedy"]
    assert file.read_bytes() == b"mine"
    code, answer = export(file, "--overwrite")
    assert (code, answer["error"]["headline"]) == (2, "the output exists and is no such export")
    assert file.read_bytes() == b"mine"
    file.unlink()
    assert export(file)[0] == 0
    whole = file.read_bytes()
    assert export(file, "--overwrite")[0] == 0
    assert file.read_bytes() == whole


@pytest.mark.usefixtures("version")
def test_for_people(workspace: Path, tmp_path: Path, capsys) -> None:
    words = ["models", "export", "digits@1", "--format", "onnx", "--workspace", str(workspace)]
    assert main([*words, "--output", str(tmp_path / "d.onnx")]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"digits@1 as onnx: {tmp_path / 'd.onnx'} (")
    assert "its golden batch: 32 labels equal, probabilities within" in told.out
    assert told.err == ""
    assert main([*words, "--help"]) == 0
    told = capsys.readouterr()
    assert "models export digits@3 --format onnx --output digits-3.onnx" in told.out
    assert "pip install 'mnist-pipeline[onnx]'" in told.out


@pytest.mark.usefixtures("version")
def test_into_a_bucket(export: Export, bucket: str, tmp_path: Path) -> None:
    url = f"{bucket}/models/digits-1.onnx"
    code, answer = export(url)
    assert (code, answer["output"]) == (0, url)
    stored = Store.open(bucket).get("models/digits-1.onnx")
    assert sha256(stored) == answer["digest"]
    code, refused = export(url)
    assert (code, refused["error"]["headline"]) == (2, "digits-1.onnx exists already")
    assert export(url, "--overwrite")[1]["digest"] == answer["digest"]
    Store.open(bucket).put("models/mine.onnx", b"mine")
    assert export(f"{bucket}/models/mine.onnx", "--overwrite")[0] == 2
    assert Store.open(bucket).get("models/mine.onnx") == b"mine"
    assert export(tmp_path / "d.onnx")[1]["digest"] == answer["digest"]
    assert export(f"{bucket}-gone/d.onnx")[0] == 6


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("output", "code", "words"),
    [
        (".", 2, "would replace the folder that this command runs in"),
        ("folder", 2, "folder exists and is no file"),
        ("/proc/digits.onnx", 6, "digits.onnx cannot be written"),
        ("file/digits.onnx", 6, "digits.onnx cannot be written"),
        ("a\0b", 3, "cannot be a path"),
        ("ftp://host/digits.onnx", 2, "the output cannot be on ftp://"),
        ("s3://bucket", 2, "the output names no file"),
        ("s3://bucket/folder/", 2, "the output names no file"),
        ("s3://bucket/d.onnx?sig=sesame", 2, "the output has a query in its URL"),
    ],
)
def test_an_output_that_cannot_be(
    export: Export, tmp_path: Path, monkeypatch, output: str, code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    found, answer = export(output)
    assert (found, words in answer["error"]["headline"]) == (code, True), answer
    assert answer["error"]["remedy"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("digits@7", "there is no version digits@7"),
        ("digts@1", "there is no model called 'digts'"),
        ("digits", "'digits' has no champion yet"),
        ("digits@one", "is not a model reference"),
    ],
)
def test_no_such_version(export: Export, tmp_path: Path, reference: str, words: str) -> None:
    code, answer = export(tmp_path / "d.onnx", reference=reference)
    assert (code, words in answer["error"]["headline"]) == (2, True), answer


@pytest.mark.usefixtures("version")
def test_no_such_format(workspace: Path, tmp_path: Path, capsys) -> None:
    words = ["models", "export", "digits@1", "--format", "onxx", "--output", str(tmp_path / "d")]
    assert main([*words, "--workspace", str(workspace)]) == 2
    assert "did you mean 'onnx'?" in capsys.readouterr().err


@pytest.mark.usefixtures("version")
def test_without_the_extra(export: Export, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, answer = export(tmp_path / "d.onnx")
    assert code == 6
    assert answer["error"]["remedy"] == "pip install 'mnist-pipeline[onnx]'"
    assert not (tmp_path / "d.onnx").exists()


@pytest.mark.usefixtures("version")
def test_a_version_that_does_not_verify(export: Export, tmp_path: Path, workspace: Path) -> None:
    weights = workspace / "models/digits/versions/1/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert export(tmp_path / "d.onnx")[0] == 5
    assert not (tmp_path / "d.onnx").exists()


STRANGER = """
from __future__ import annotations
import dataclasses
import numpy as np
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.perceptrons import Softmax
from mnist_pipeline.plugins import option

@dataclasses.dataclass(frozen=True)
class Plain(Softmax):
    mood: str = option("mute", "what it writes down")

    def to_onnx(self, parameters, normalizer, pixels):
        right = Softmax.to_onnx(self, parameters, normalizer, pixels)
        match self.mood:
            case "mute":
                return Model.to_onnx(self, parameters, normalizer, pixels)
            case "good":
                return right
            case "mad":
                raise KeyError("K7")
            case "nothing":
                return None
            case "unknown":
                return right.apply("Sharpen")
            case "mixed types":
                return right + np.float64(1)
            case "few":
                return right + np.zeros((31, 10), np.float32)
            case "wrong":
                return np.float32(1) - right
"""


@pytest.mark.parametrize(
    ("mood", "code", "kind", "words"),
    [
        ("good", 0, None, ""),
        ("mute", 2, "not_exportable", "the model 'plain.v1' cannot be written as ONNX"),
        ("mad", 6, "outside", "the model 'plain.v1' went wrong"),
        ("nothing", 6, "outside", "the model 'plain.v1' gives no graph that can be computed"),
        ("unknown", 6, "outside", "gives no graph that can be computed"),
        ("mixed types", 6, "outside", "gives no graph that can be computed"),
        ("few", 5, "integrity", "does not give the answers of its golden batch"),
        ("wrong", 5, "integrity", "does not give the answers of its golden batch"),
    ],
)
def test_a_network_of_another_package(
    train, install, idx_folder, export: Export, tmp_path: Path, mood, code, kind, words
) -> None:
    install("acme", {"plain.v1": "Plain"}, STRANGER, "model")
    train(f"idx:{idx_folder}", "model.kind=plain", f"model.mood={mood}")
    found, answer = export(tmp_path / "d.onnx")
    assert found == code, answer
    assert (tmp_path / "d.onnx").exists() == (code == 0)
    if code:
        error = answer["error"]
        assert (error["kind"], words in error["headline"]) == (kind, True), error
        assert error["facts"]["package"] == "acme 1.5"


def test_a_member_of_another_package_is_named(
    train, install, idx_folder, export: Export, tmp_path: Path
) -> None:
    install("acme", {"plain.v1": "Plain"}, STRANGER, "model")
    members = 'model.member=[{kind = "softmax"}, {kind = "plain"}]'
    train(f"idx:{idx_folder}", "model.kind=ensemble", "model.members=2", members)
    code, answer = export(tmp_path / "d.onnx")
    assert (code, answer["error"]["kind"]) == (2, "not_exportable")
    assert "'plain.v1'" in answer["error"]["headline"]
