"""What a tracking server is told: flat parameters, curves with their steps, one identity."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import FinishedVersion
from mnist_pipeline.testing.publishers import small_version
from mnist_pipeline.tracking import entries

HISTORY = [
    {"step": 18, "epoch": 1, "loss": 1.5, "validation_accuracy": None, "members": [{"loss": 1.4}]},
    {"step": 36, "epoch": 2, "loss": 1.0, "validation_accuracy": 0.9},
    {"step": 36, "epoch": 2, "loss": 1.0, "validation_accuracy": 0.95, "ensemble": True},
]


@pytest.fixture
def version(tmp_path: Path) -> FinishedVersion:
    return small_version(Store.open(tmp_path))


def test_parameters_are_the_configuration_flat(version: FinishedVersion) -> None:
    found = entries.parameters(version.manifest)
    assert found["name"] == "digits"
    assert found["train.epochs"] == str(version.manifest.config["train"]["epochs"])
    assert found["model.kind"] == version.manifest.config["model"]["kind"]
    assert found["publish.promote"] == "true"
    long = dataclasses.replace(version.manifest, config={"data": {"sources": ["x" * 9000]}})
    assert len(entries.parameters(long)["data.sources"]) == 6000


def test_a_training_has_a_point_an_epoch_at_its_step(version: FinishedVersion) -> None:
    files = dict(version.manifest.files)
    files["history.json"] = version.store.put("history", readable_json(HISTORY))
    told = dataclasses.replace(
        version, manifest=dataclasses.replace(version.manifest, files=files, metrics={"n": 60})
    )
    assert entries.points(told) == [
        ("n", 60.0, 0),
        ("training/epoch", 1.0, 18),
        ("training/loss", 1.5, 18),
        ("training/epoch", 2.0, 36),
        ("training/loss", 1.0, 36),
        ("training/validation_accuracy", 0.9, 36),
        ("ensemble/epoch", 2.0, 36),
        ("ensemble/loss", 1.0, 36),
        ("ensemble/validation_accuracy", 0.95, 36),
    ]


def test_a_version_is_known_by_its_manifest(version: FinishedVersion) -> None:
    manifest = version.manifest
    assert entries.tags(manifest)[entries.IDENTITY] == entries.identity(manifest)
    other = dataclasses.replace(manifest, run="20260101T000001Z-00000000")
    assert entries.identity(other) != entries.identity(manifest)
    assert "- sample: nobody judged it" in entries.description(manifest)


def test_a_run_lasts_from_its_name_to_its_manifest(version: FinishedVersion) -> None:
    manifest = dataclasses.replace(version.manifest, created="2026-01-01T00:01:00Z")
    assert entries.ended(manifest) - entries.began(manifest) == 60_000
    odd = dataclasses.replace(manifest, run="by hand")
    assert entries.began(odd) == entries.ended(odd)
