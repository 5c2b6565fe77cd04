"""On the same machine a version is made again bit by bit, and nothing in the workspace changes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from reproduce_samples import again, alter_manifest, state_of, statuses
from small import SETTINGS, write_idx

from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.pipeline import run_pipeline
from mnist_pipeline.reporting import Silent
from mnist_pipeline.reproduce.reproduction import reproduce
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.exams import offered_exam, set_exam
from mnist_pipeline.store.housekeeping import sweep
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.survey import Policy

IDENTICAL = ["identical"] * 5
MLP = (
    "model.kind=mlp",
    "model.hidden=[16]",
    "model.dropout=0.2",
    "normalize.kind=standardize",
    "train.augment.rotation=8",
)


def manifest_of(workspace: Path, version: int) -> Manifest:
    return Registry(Store.open(workspace)).manifest("digits", version)


@pytest.mark.parametrize("settings", [(), MLP], ids=["softmax", "mlp with augmentation"])
@pytest.mark.parametrize("from_sources", [False, True])
def test_drawn_digits(
    settings: tuple[str, ...], from_sources: bool, train, workspace: Path
) -> None:
    train("synthetic:n=400,seed=3", *settings)
    before = state_of(workspace)
    found = again(workspace, from_sources=from_sources)
    assert statuses(found) == IDENTICAL
    assert [stage.name for stage in found.stages] == [
        "ingest",
        "validate",
        "normalize",
        "train",
        "evaluate",
    ]
    assert (found.error, list(found.causes), list(found.differences)) == (None, [], [])
    assert found.metrics == found.manifest.metrics
    assert state_of(workspace) == before


def test_what_is_compared_is_what_was_published(train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}")
    manifest = manifest_of(workspace, 1)
    found = again(workspace)
    assert statuses(found) == IDENTICAL
    expected = {}
    for stage in found.stages:
        assert stage.expected == stage.found
        assert stage.wrong == []
        expected |= stage.expected
    assert expected["dataset"] == manifest.dataset
    compared = ("normalizer.json", "contract.json", "model.json", "model.safetensors")
    for name in (*compared, "metrics.json"):
        assert expected[name] == manifest.files[name].digest
    assert sum(key.startswith("parts/") for key in expected) == 2
    assert f"exams/{manifest.exam}.parquet" in expected


def test_nothing_remembered_is_used(train, idx_folder: Path, workspace: Path) -> None:
    """Memos that lie about what a stage gives change nothing."""
    train(f"idx:{idx_folder}")
    train(f"idx:{idx_folder}", "train.seed=1", "train.epochs=1")
    for file in workspace.glob("runs/*/bundle/model.safetensors"):
        file.write_bytes(b"another network")
    assert statuses(again(workspace, "digits@1")) == IDENTICAL
    assert statuses(again(workspace, "digits@2")) == IDENTICAL
    (workspace / "stages").rename(workspace / "gone")
    assert statuses(again(workspace, "digits@1")) == IDENTICAL


def test_in_memory(idx_folder: Path) -> None:
    store = Store.open("memory://")
    layers = [parse_setting(setting) for setting in SETTINGS]
    config = resolve([*layers, {"data": {"sources": [f"idx:{idx_folder}"]}}])
    run_pipeline(Run(store, config))
    before = list(store.list(""))
    found = reproduce(store, "digits", reporter=Silent())
    assert statuses(found) == IDENTICAL
    assert list(store.list("")) == before


def test_rows_that_were_rejected(train, tmp_path: Path, workspace: Path, digits) -> None:
    images, labels = digits
    lines = ["label," + ",".join(f"pixel{i}" for i in range(784))]
    lines += [
        f"{label}," + ",".join(map(str, image)) for image, label in zip(images, labels, strict=True)
    ]
    lines[7] = "x" + lines[7]
    lines.append(str((labels[0] + 1) % 10) + lines[1][1:])  # the first image with another label
    (tmp_path / "train.csv").write_text("\n".join(lines))
    result = train(f"csv:{tmp_path / 'train.csv'}")
    assert sum(result.dataset["rejected"].values()) == 3
    for from_sources in (False, True):
        assert statuses(again(workspace, from_sources=from_sources)) == IDENTICAL


def test_a_name_that_is_judged_on_another_exam_by_now(
    train, idx_folder: Path, workspace: Path
) -> None:
    train("synthetic:n=500,seed=1")
    held = train(f"idx:{idx_folder}")
    assert held.outcome.reasons[0].startswith("exam_changed")
    store = Store.open(workspace)
    digest = held.outcome.reasons[0].partition("own (")[2][:12]
    offered = offered_exam(store, digest)
    assert offered
    set_exam(store, "digits", offered, "these are real")
    train(f"idx:{idx_folder}")
    for version in (1, 2):
        assert statuses(again(workspace, f"digits@{version}")) == IDENTICAL
    assert manifest_of(workspace, 1).exam != manifest_of(workspace, 2).exam


def test_after_gc(train, idx_folder: Path, workspace: Path) -> None:
    for seed in range(3):
        train(f"idx:{idx_folder}", f"train.seed={seed}")
    train("synthetic:n=300", "data.use_exam=false")
    later = datetime.now(UTC) + timedelta(days=400)
    policy = Policy(timedelta(hours=24), keep_runs=0)
    swept = sweep(Store.open(workspace), policy, dry_run=False, now=later)
    assert swept.to_json()["removed"]["runs"]["count"] == 4
    assert swept.to_json()["removed"]["parts"]["count"] == 1
    for version in (1, 2, 3):
        assert statuses(again(workspace, f"digits@{version}")) == IDENTICAL


def test_a_part_under_another_name_today(train, tmp_path: Path, workspace: Path, digits) -> None:
    """The same bytes under two names are one part; a version tells of the name it had then."""
    images, labels = digits
    write_idx(tmp_path / "a", "train", images, labels)
    write_idx(tmp_path / "b", "more", images, labels)
    train(f"idx:{tmp_path / 'a'}")
    train(f"idx:{tmp_path / 'b'}", "train.seed=1")
    part = next(workspace.glob("parts/*/part.json"))
    assert "train-images" in part.read_text()
    for version in (1, 2):
        assert statuses(again(workspace, f"digits@{version}")) == IDENTICAL


def test_a_deadline_does_not_count(train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}", "train.deadline=3600")
    alter_manifest(workspace, lambda m: m["config"]["train"].update(deadline=1e-9))
    assert statuses(again(workspace)) == IDENTICAL


def test_files_that_have_arrived_since_are_left_out(
    train, tmp_path: Path, workspace: Path, digits
) -> None:
    images, labels = digits
    folder = tmp_path / "landing"
    write_idx(folder, "monday", images[:500], labels[:500])
    train(f"idx:{folder}")
    write_idx(folder, "tuesday", images[500:], labels[500:])
    assert statuses(again(workspace, from_sources=True)) == IDENTICAL


def test_a_manifest_of_before_is_understood(train, idx_folder: Path, workspace: Path) -> None:
    """Manifests that name fewer things of their environment."""
    train(f"idx:{idx_folder}")
    few = {"python": "3.0", "numpy": np.__version__, "blas": "a blas", "machine": "a machine"}
    alter_manifest(workspace, lambda m: m.update(environment=few))
    found = again(workspace)
    assert statuses(found) == IDENTICAL
    assert [difference.what for difference in found.differences] == ["python", "blas", "machine"]
    assert dataclasses.asdict(found.differences[0])["then"] == "3.0"
