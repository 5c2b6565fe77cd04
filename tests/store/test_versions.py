"""Published versions: every byte verified, loaded by name from the workspace one has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from store_samples import CONTRACT, images_of, make_bundle, publish_bundle

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, IntegrityError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.refs import sha256
from mnist_pipeline.store.bundles import (
    BUNDLE_FILES,
    bundle_files,
    load_model,
    read_bundle,
    read_files,
    verify_version,
    why_unusable,
)
from mnist_pipeline.store.objects import ObjectMissingError, Store, WorkspaceMissingError
from mnist_pipeline.store.registry import Registry

FILES = (*BUNDLE_FILES, "golden.parquet", "metrics.json", "report.html")


def same_answers(one: Bundle, other: Bundle) -> bool:
    images = images_of(300)
    return np.array_equal(one.predict(images).probabilities, other.predict(images).probabilities)


def test_a_published_version_verifies_and_answers_as_it_was_trained(store: Store) -> None:
    bundle = make_bundle()
    manifest = publish_bundle(store, bundle)
    verify_version(store, manifest)
    assert why_unusable(store, manifest.name, manifest.version) is None
    again = read_bundle(store, Registry(store).find("digits@1"))
    assert same_answers(again, bundle)
    assert set(read_files(store, manifest)) == set(FILES) - {"report.html"}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["first", "middle", "last", "added", "cut", "deleted"])
def test_a_version_with_one_altered_byte_is_refused(
    folder_store: Store, name: str, place: str
) -> None:
    manifest = publish_bundle(folder_store, make_bundle())
    key = manifest.files[name].key
    data = bytearray(folder_store.get(key))
    if place == "deleted":
        folder_store.delete(key)
    else:
        if place == "added":
            data += b"\n"
        elif place == "cut":
            del data[-1]
        else:
            data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 1
        folder_store.put(key, bytes(data))
    with pytest.raises(IntegrityError, match=rf"{name} of digits@1 is missing or was") as caught:
        verify_version(folder_store, manifest)
    assert caught.value.facts["key"] == key
    assert why_unusable(folder_store, manifest.name, manifest.version) is not None
    if name == "report.html":
        read_bundle(folder_store, manifest)  # predictions do not depend on it
        return
    with pytest.raises(IntegrityError) as caught:
        read_bundle(folder_store, manifest)
    assert caught.value.facts["key"] == key
    assert isinstance(caught.value, ObjectMissingError) == (place == "deleted")


def test_other_weights_under_right_digests_fail_the_golden_batch(store: Store) -> None:
    manifest = publish_bundle(store, make_bundle(seed=1))
    weights = bundle_files(make_bundle(seed=2))["model.safetensors"]
    ref = store.put(manifest.files["model.safetensors"].key, weights)
    other = dataclasses.replace(manifest, files={**manifest.files, "model.safetensors": ref})
    for use in (read_bundle, verify_version):
        with pytest.raises(IntegrityError, match="golden batch") as caught:
            use(store, other)
        assert float(caught.value.facts["largest_difference"]) > 1e-5


def test_a_contract_other_than_the_manifests_is_refused(store: Store) -> None:
    manifest = publish_bundle(store, make_bundle())
    other = ImageContract(4, 4, ("a", "b", "d"))
    files = bundle_files(dataclasses.replace(make_bundle(), contract=other))
    ref = store.put(manifest.files["contract.json"].key, files["contract.json"])
    swapped = dataclasses.replace(manifest, files={**manifest.files, "contract.json": ref})
    with pytest.raises(IntegrityError, match="contract in the bundle") as caught:
        read_bundle(store, swapped)
    assert caught.value.facts["expected"] == CONTRACT.fingerprint[:16]
    assert caught.value.facts["found"] == other.fingerprint[:16]


def test_a_file_swapped_with_that_of_another_version_is_refused(store: Store) -> None:
    one = publish_bundle(store, make_bundle(seed=1))
    other = publish_bundle(store, make_bundle(seed=2))
    name = "model.safetensors"
    store.put(one.files[name].key, store.get(other.files[name].key))
    with pytest.raises(IntegrityError, match="not what was published") as caught:
        read_bundle(store, one)
    assert caught.value.facts["found"] == sha256(store.get(other.files[name].key))[:16]
    read_bundle(store, other)


# --- load_model ---


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two versions of `digits`, of which the first is champion, and one of `letters`."""
    store = Store.open(tmp_path / "published")
    for name, seed in (("digits", 1), ("digits", 2), ("letters", 3)):
        publish_bundle(store, make_bundle(seed), name)
    Registry(store).promote("digits", 1, "first", after=None)
    return tmp_path / "published"


@pytest.mark.parametrize(
    ("reference", "seed"),
    [("digits", 1), ("digits@champion", 1), ("digits@1", 1), ("digits@2", 2), ("letters@1", 3)],
)
def test_a_model_is_loaded_by_name(workspace: Path, reference: str, seed: int) -> None:
    assert same_answers(load_model(reference, workspace), make_bundle(seed))
    assert same_answers(load_model(reference, f"file://{workspace}"), make_bundle(seed))


def test_the_default_is_the_champion_of_digits(workspace: Path) -> None:
    assert same_answers(load_model(workspace=workspace), make_bundle(1))


def test_the_workspace_is_the_argument_else_the_variable_else_the_folder(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_PIPELINE_WORKSPACE", str(workspace))
    assert same_answers(load_model("digits@2"), make_bundle(2))
    with pytest.raises(WorkspaceMissingError, match="there is no workspace"):
        load_model("digits@2", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    workspace.rename(tmp_path / "workspace")
    monkeypatch.setenv("MNIST_PIPELINE_WORKSPACE", "")  # as good as unset
    assert same_answers(load_model("digits@2"), make_bundle(2))
    monkeypatch.delenv("MNIST_PIPELINE_WORKSPACE")
    assert same_answers(load_model("digits@2"), make_bundle(2))


@pytest.mark.parametrize("reference", ["letters", "digits@3", "digit@1", "digits@newest"])
def test_a_model_that_is_not_there_is_a_config_error(workspace: Path, reference: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(reference, workspace)
    assert caught.value.remedy


def test_a_champion_that_was_damaged_is_not_loaded(workspace: Path) -> None:
    path = workspace / "models/digits/versions/1/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="not what was published") as caught:
        load_model(workspace=workspace)
    assert caught.value.exit_code == 5
    load_model("digits@2", workspace)
