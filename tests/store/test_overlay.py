"""An overlay: shows what lies below, keeps what is written, changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_pipeline.refs import sha256
from mnist_pipeline.store.objects import ObjectMissingError, Store
from mnist_pipeline.store.overlay import Overlay


@pytest.fixture
def overlay(store: Store, tmp_path: Path) -> Overlay:
    store.put("a/below", b"below")
    store.put("a/both", b"below")
    folder = tmp_path / "overlay"
    folder.mkdir()
    overlay = Overlay(store, folder)
    overlay.put("a/both", b"above")
    overlay.put("a/deep/above", b"above")
    return overlay


def below(overlay: Overlay) -> dict[str, bytes]:
    return {info.key: overlay.below.get(info.key) for info in overlay.below.list("")}


BELOW = {"a/below": b"below", "a/both": b"below"}


def test_what_is_written_covers_what_lies_below(overlay: Overlay) -> None:
    shown = {info.key: overlay.get(info.key) for info in overlay.list("a")}
    assert shown == {"a/below": b"below", "a/both": b"above", "a/deep/above": b"above"}
    assert list(shown) == sorted(shown)
    assert overlay.children("a") == ["below", "both", "deep"]
    for key, data in shown.items():
        with overlay.local(key) as path:
            assert path.read_bytes() == data
        with overlay.reader(key) as file:
            assert (file.read_bytes() if isinstance(file, Path) else file.read()) == data
        assert overlay.digest(key) == sha256(data)
        assert overlay.exists(key)
    info = overlay.info("a/both")
    assert info
    assert info.size == len(b"above")
    assert below(overlay) == BELOW


def test_what_is_nowhere_is_missing(overlay: Overlay) -> None:
    assert not overlay.exists("a/nothing")
    with pytest.raises(ObjectMissingError):
        overlay.get("a/nothing")
    with pytest.raises(ObjectMissingError), overlay.local("a/nothing"):
        pass


def test_references_verify_through_it(overlay: Overlay) -> None:
    low, high = overlay.below.put("x", b"low"), overlay.put("y", b"high")
    assert overlay.verifies(low)
    assert overlay.verifies(high)
    overlay.put("x", b"another")
    assert not overlay.verifies(low)
    assert overlay.below.verifies(low)


def test_what_lies_below_is_there_already(overlay: Overlay) -> None:
    assert not overlay.put_if_absent("a/below", b"new")
    assert not overlay.put_if_absent("a/deep/above", b"new")
    assert overlay.put_if_absent("a/new", b"new")
    assert overlay.get("a/below") == b"below"
    assert below(overlay) == BELOW


def test_deleting_uncovers(overlay: Overlay) -> None:
    for key in ("a/both", "a/below", "a/deep/above"):
        overlay.delete(key)
    assert overlay.get("a/both") == b"below"
    assert not overlay.exists("a/deep/above")
    assert below(overlay) == BELOW


def test_finished_files_and_scratch_are_its_own(overlay: Overlay, tmp_path: Path) -> None:
    with overlay.scratch() as folder:
        assert folder.is_relative_to(tmp_path / "overlay")
        (folder / "file").write_bytes(b"uploaded")
        ref = overlay.upload(folder / "file", "a/below")
    assert overlay.verifies(ref)
    assert below(overlay) == BELOW
