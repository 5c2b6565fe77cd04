"""Normalize: one pass, and what it leaves: the normalizer, the profile, the samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import SETTINGS

from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.data.profile import Profile
from mnist_pipeline.data.split import Side
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.stages.ingest import ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.normalize import SAMPLES_A_CLASS, normalize, profile_of, samples_of
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.train import rows_of
from mnist_pipeline.stages.validate import Snapshot, validate
from mnist_pipeline.store.bundles import verify_version
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry


def snapshot_of(folder: Path, workspace: Path, *settings: str) -> tuple[Run, Snapshot]:
    layers = [parse_setting(setting) for setting in (*SETTINGS, *settings)]
    config = resolved(resolve([*layers, {"data": {"sources": [f"idx:{folder}"]}}]))
    run = Run(Store.open(workspace), config)
    return run, validate(run, [ingest(run, one) for one in inputs_of(config.data.sources, None)])


@pytest.mark.parametrize("kind", ["scale", "standardize"])
def test_the_profile_is_of_all_training_rows_and_of_no_others(
    kind: str, idx_folder: Path, workspace: Path
) -> None:
    run, snapshot = snapshot_of(idx_folder, workspace, f"normalize.kind={kind}")
    normalized = normalize(run, snapshot)
    images, labels = rows_of(run, snapshot, Side.TRAIN)
    assert 0 < len(images) < 400
    profile = profile_of(run, normalized)
    assert profile.n == len(images)
    assert profile.class_counts.tolist() == np.bincount(labels, minlength=10).tolist()
    assert profile.pixels.tolist() == np.bincount(images.ravel(), minlength=256).tolist()


def test_samples_are_the_first_training_rows_of_each_class(
    idx_folder: Path, workspace: Path
) -> None:
    run, snapshot = snapshot_of(idx_folder, workspace)
    shown, classes = samples_of(run, normalize(run, snapshot))
    images, labels = rows_of(run, snapshot, Side.TRAIN)
    assert len(shown) == 10 * SAMPLES_A_CLASS
    for label in range(10):
        expected = images[labels == label][:SAMPLES_A_CLASS]
        assert np.array_equal(shown[classes == label], expected)


def test_what_was_seen_once_is_remembered(idx_folder: Path, workspace: Path) -> None:
    run, snapshot = snapshot_of(idx_folder, workspace)
    first = normalize(run, snapshot)
    again = normalize(run, snapshot)
    assert (first.reused, again.reused) == (False, True)
    assert again.outputs == first.outputs
    (workspace / first.outputs["profile.json"].key).unlink()
    assert not normalize(run, snapshot).reused


def test_the_profile_travels_with_the_version(train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}")
    store = Store.open(workspace)
    manifest = Registry(store).manifest("digits", 1)
    ref = manifest.files["profile.json"]
    data = store.get(ref.key)
    assert ref.key == "models/digits/versions/1/profile.json"
    assert Profile.from_bytes(data).n == json.loads(data)["n"] > 0
    verify_version(store, manifest)

    path = workspace / ref.key
    path.write_bytes(data.replace(b'"n":', b'"m":', 1))
    with pytest.raises(IntegrityError, match=r"profile\.json of digits@1"):
        verify_version(store, manifest)


def test_the_same_rows_have_the_same_profile_in_any_workspace(
    train, idx_folder: Path, tmp_path: Path
) -> None:
    written = []
    for name in ("a", "b"):
        run, snapshot = snapshot_of(idx_folder, tmp_path / name)
        outputs = normalize(run, snapshot).outputs
        written.append({role: ref.digest for role, ref in outputs.items()})
    assert written[0] == written[1]
