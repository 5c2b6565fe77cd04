"""What is not as it was is named: the first stage, the object, the cause, and what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from reproduce_samples import again, alter_json, alter_manifest, change_one_byte, state_of, statuses
from small import write_idx

from mnist_pipeline.errors import ConfigError, DataError, IntegrityError
from mnist_pipeline.refs import sha256
from mnist_pipeline.reproduce.reproduction import Reproduction
from mnist_pipeline.store.objects import Store

SKIPPED = ["skipped"] * 4


@pytest.fixture
def version(train, idx_folder: Path, workspace: Path) -> Path:
    """A workspace with digits@1, of two parts."""
    train(f"idx:{idx_folder}")
    return workspace


def part_called(workspace: Path, name: str) -> Path:
    return next(
        record.parent
        for record in workspace.glob("parts/*/part.json")
        if json.loads(record.read_text())["name"].startswith(name)
    )


def facts(found: Reproduction) -> dict:
    assert found.error is not None
    return found.error.facts


@pytest.mark.parametrize("byte", [0, 1_000, -1])
def test_one_byte_of_a_part(byte: int, version: Path) -> None:
    part = part_called(version, "t10k")
    change_one_byte(part / "part.parquet", byte)
    before = state_of(version)
    found = again(version)
    assert statuses(found) == ["differs", *SKIPPED]
    assert found.causes == ["data"]
    assert isinstance(found.error, IntegrityError)
    assert "the part t10k-images-idx3-ubyte of digits@1" in found.error.headline
    assert facts(found)["stage"] == "ingest"
    assert facts(found)["object"] == f"parts/{part.name}/part.parquet"
    assert facts(found)["found"] == sha256((part / "part.parquet").read_bytes())
    assert facts(found)["source"].startswith("idx:")
    assert state_of(version) == before


def test_a_part_that_is_gone_and_its_source_is_there(version: Path, idx_folder: Path) -> None:
    shutil.rmtree(part_called(version, "train"))
    found = again(version)
    assert statuses(found) == ["missing", *SKIPPED]
    assert isinstance(found.error, DataError)
    assert "train-images-idx3-ubyte of digits@1 is gone" in found.error.headline
    assert facts(found)["source"] == f"idx:{idx_folder}"
    assert "--from-sources" in found.error.remedy
    assert f"--source idx:{idx_folder}" in found.error.remedy
    assert again(version, from_sources=True).error is None
    assert not (version / "parts" / "train").exists()


def test_a_training_with_the_source_brings_a_part_back(version: Path, idx_folder, train) -> None:
    shutil.rmtree(version / "parts")
    assert train(f"idx:{idx_folder}").outcome.status == "unchanged"
    assert again(version).error is None


def test_a_part_that_is_gone_and_its_source_is_another(
    version: Path, idx_folder: Path, digits
) -> None:
    images, labels = digits
    shutil.rmtree(part_called(version, "train"))
    write_idx(idx_folder, "train", images[:399], labels[:399])
    found = again(version)
    assert found.error is not None
    assert "other bytes" in found.error.remedy
    from_sources = again(version, from_sources=True)
    assert statuses(from_sources) == ["missing", *SKIPPED]
    assert from_sources.error is not None
    assert "train-images-idx3-ubyte" in from_sources.error.headline


def test_a_part_that_is_gone_and_its_source_as_well(version: Path, idx_folder: Path) -> None:
    shutil.rmtree(part_called(version, "train"))
    shutil.rmtree(idx_folder)
    found = again(version)
    assert isinstance(found.error, DataError)
    assert "from a backup" in found.error.remedy
    with pytest.raises(DataError, match="does not exist"):
        again(version, from_sources=True)


def test_drawn_digits_can_always_be_drawn_again(train, workspace: Path) -> None:
    train("synthetic:n=300,seed=3")
    shutil.rmtree(workspace / "parts")
    found = again(workspace)
    assert found.error is not None
    assert "its source is as it was" in found.error.remedy
    assert again(workspace, from_sources=True).error is None


def test_nothing_is_fetched_to_say_that_it_can_be(
    train, idx_folder: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(f"idx:{idx_folder}")
    monkeypatch.delenv("MNIST_DATA_DIR", raising=False)
    monkeypatch.setenv("MNIST_PIPELINE_CACHE", str(tmp_path / "cache"))
    alter_manifest(workspace, lambda m: m["config"]["data"].update(sources=["mnist"]))
    shutil.rmtree(workspace / "parts")
    found = again(workspace)
    assert found.error is not None
    assert "fetches its source again" in found.error.remedy
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("how", ["gone", "changed", "unreadable"])
def test_the_record_beside_a_part(how: str, version: Path) -> None:
    record = part_called(version, "train") / "part.json"
    if how == "gone":
        record.unlink()
    elif how == "unreadable":
        record.write_text("{")
    else:
        alter_json(record, lambda part: part.update(rows=401))
    found = again(version)
    first = next(stage for stage in found.stages if stage.status != "identical")
    expected = {"gone": "missing", "changed": "differs", "unreadable": "differs"}
    assert first.status == expected[how]
    assert first.name == ("validate" if how == "changed" else "ingest")
    assert found.causes == ["data"]


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_the_exam(how: str, version: Path) -> None:
    (exam,) = version.glob("exams/*.parquet")
    if how == "gone":
        exam.unlink()
    else:
        change_one_byte(exam)
    found = again(version)
    status = "missing" if how == "gone" else "differs"
    assert statuses(found) == ["identical", status, *SKIPPED[1:]]
    assert found.causes == ["data"]
    assert facts(found)["object"] == f"exams/{exam.name}"
    assert found.error is not None
    assert found.error.exit_code == (3 if how == "gone" else 5)


def test_an_exam_of_which_no_record_is_left(version: Path) -> None:
    (version / "models/digits/exam.json").unlink()
    assert again(version).error is None  # the offer is still there
    for record in version.glob("exams/*.json"):
        record.unlink()
    found = again(version)
    assert statuses(found)[1] == "missing"
    assert facts(found)["object"].endswith(".json")


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_the_record_of_the_data_set(how: str, version: Path) -> None:
    (record,) = version.glob("datasets/*.json")
    if how == "gone":
        record.unlink()
    else:
        change_one_byte(record)
    found = again(version)
    assert statuses(found) == ["missing" if how == "gone" else "differs", *SKIPPED]
    assert found.causes == ["data"]
    assert facts(found)["object"] == f"datasets/{record.name}"


@pytest.mark.parametrize(
    ("key", "value"), [("seed", 7), ("learning_rate", 0.02), ("batch_size", 64)]
)
def test_a_configuration_that_was_altered(key: str, value: float, version: Path) -> None:
    alter_manifest(version, lambda m: m["config"]["train"].update({key: value}))
    found = again(version)
    assert statuses(found) == ["identical", "identical", "identical", "differs", "differs"]
    assert found.causes == ["configuration"]
    assert "digits@1 made again is not the same: train gives another" in str(found.error)
    assert "model.safetensors" in str(found.error)
    assert found.metrics["n"] == found.manifest.metrics["n"]


def test_a_configuration_that_changes_the_normalizer(version: Path) -> None:
    change = {"kind": "standardize.v1"}
    alter_manifest(version, lambda m: m["config"].update(normalize=change))
    found = again(version)
    assert statuses(found) == ["identical", "identical", "differs", "skipped", "skipped"]
    assert found.causes == ["configuration"]


def test_a_configuration_that_changes_the_split(version: Path) -> None:
    alter_manifest(version, lambda m: m["config"]["data"].update(validation_fraction=0.3))
    found = again(version)
    assert statuses(found)[:3] == ["identical", "differs", "skipped"]
    assert found.causes == ["configuration"]


def test_a_configuration_that_refuses_the_data(version: Path) -> None:
    """A stage that was done once and cannot be done now is a finding, no crash."""
    alter_manifest(version, lambda m: m["config"]["data"].update(min_class_share=0.5))
    found = again(version)
    assert statuses(found) == ["identical", "differs", "skipped", "skipped", "skipped"]
    assert "class" in str(found.stages[1].found["error"])
    assert isinstance(found.error, IntegrityError)
    assert "is too rare" in str(found.error)


def test_a_configuration_that_is_not_understood(version: Path) -> None:
    alter_manifest(version, lambda m: m["config"]["model"].update(kind="transformer.v9"))
    with pytest.raises(ConfigError, match="does not understand how digits@1") as caught:
        again(version)
    assert "transformer.v9" in str(caught.value)


ENVIRONMENT = [
    ("code", {}, "code"),
    ("numpy", {"numpy": "1.0"}, "libraries"),
    ("blas", {"blas": "another"}, "libraries"),
    ("blas_kernels", {"blas_kernels": "Z80"}, "cpu"),
    ("plugin softmax.v1", {"plugin softmax.v1": "a-package 2"}, "code"),
]


@pytest.mark.parametrize(("what", "then", "cause"), ENVIRONMENT, ids=[e[0] for e in ENVIRONMENT])
def test_weights_that_differ_where_something_else_has_changed(
    what: str, then: dict[str, str], cause: str, version: Path
) -> None:
    def change(manifest: dict) -> None:
        manifest["files"]["model.safetensors"]["digest"] = "0" * 64
        manifest["environment"] |= then
        manifest["environment"] = {
            key: value
            for key, value in manifest["environment"].items()
            if what.startswith("plugin") or not key.startswith("plugin")
        }
        if what == "code":
            manifest["code"] = "c" * 64

    alter_manifest(version, change)
    found = again(version)
    assert statuses(found)[3:] == ["differs", "identical"]
    assert cause in found.causes
    assert what in [difference.what for difference in found.differences]
    if not what.startswith("plugin"):
        assert found.causes == [cause]
        assert what in facts(found)


def test_weights_that_differ_where_nothing_has_changed(version: Path) -> None:
    alter_manifest(version, lambda m: m["files"]["model.safetensors"].update(digest="0" * 64))
    found = again(version)
    assert found.causes == ["unknown"]
    assert found.error is not None
    assert "nothing on record has changed" in found.error.remedy


def test_metrics_that_differ(version: Path) -> None:
    alter_manifest(version, lambda m: m["files"]["metrics.json"].update(digest="0" * 64))
    found = again(version)
    assert statuses(found) == ["identical"] * 4 + ["differs"]
    assert facts(found)["what"] == "metrics.json"


@pytest.mark.parametrize("reference", ["digits@7", "letters", "letters@1", "digits@x"])
def test_a_version_that_there_is_not(reference: str, version: Path) -> None:
    with pytest.raises(ConfigError):
        again(version, reference)


def test_a_damaged_manifest(version: Path) -> None:
    (version / "models/digits/versions/1/manifest.json").write_text("{")
    with pytest.raises(IntegrityError, match="manifest is damaged"):
        again(version)
    assert Store.open(version).exists("models/digits/versions/1/model.json")
