"""What dead processes leave half-made on a disk: found when it is old, whatever lives is left."""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from workspace_samples import gc, names

from mnist_pipeline.store.objects import SCRATCH, Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.temporary import temporaries

SHELVES = ("parts", "models")


def make(root: Path, name: str, hours: float = 0) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")
    age(path, hours)
    return path


def age(path: Path, hours: float) -> None:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))


def found(root: Path, hours: float = 24) -> dict[str, int]:
    before = datetime.now(UTC) - timedelta(hours=hours)
    return {
        path.path.relative_to(root).as_posix(): path.size
        for path in temporaries(root, SHELVES, before)
    }


@pytest.mark.parametrize(
    ("name", "temporary"),
    [
        ("parts/k/part.json#1", True),
        ("models/digits/versions/1/model.safetensors#12", True),
        ("downloads/mnist/t10k-images.gz.0a1b2c3d.part", True),
        ("parts/k/part.json", False),
        ("parts/k/#1", False),
        ("models/c#/exam.json", False),
        ("downloads/mnist/t10k-images.gz", False),
        ("elsewhere/file#1", False),
        ("notes.part", False),
    ],
)
def test_files_in_the_middle_of_being_written(tmp_path: Path, name: str, temporary: bool) -> None:
    make(tmp_path, name, hours=25)
    assert found(tmp_path) == ({name: 5} if temporary else {})
    age(tmp_path / name, hours=23)
    assert found(tmp_path) == {}


def test_scratch_of_the_dead_and_not_of_the_living(tmp_path: Path, dead_pid: int) -> None:
    this = Owner.this()
    dead = dataclasses.replace(this, pid=dead_pid)
    elsewhere = dataclasses.replace(dead, host="another-host")
    for owner in (this, dead, elsewhere):
        make(tmp_path, f"{SCRATCH}/{owner}.aaaa/deep/file")
        age(tmp_path / SCRATCH / f"{owner}.aaaa", hours=26)
    make(tmp_path, f"{SCRATCH}/{dead}.young/file")
    assert found(tmp_path) == {
        f"{SCRATCH}/{dead}.aaaa": 5,
        f"{SCRATCH}/{elsewhere}.aaaa": 5,
    }


def test_gc_removes_them_and_says_so(folder_store: Store) -> None:
    root = folder_store.root
    assert root
    left = make(root, "parts/k/part.parquet#1", hours=26)
    swept = gc(folder_store, dry_run=True, after=timedelta(0))
    assert names(swept) == {"temporary": ["parts/k/part.parquet#1"]}
    assert left.exists()
    swept = gc(folder_store, after=timedelta(0))
    assert names(swept) == {"temporary": ["parts/k/part.parquet#1"]}
    assert not left.exists()


def test_folders_that_have_been_empty_for_long_go(folder_store: Store) -> None:
    root = folder_store.root
    assert root
    for name in ("parts/old/deep", "parts/young", "elsewhere/old"):
        (root / name).mkdir(parents=True)
        age(root / name, hours=26)
    age(root / "parts/young", hours=1)
    gc(folder_store, after=timedelta(0))
    assert not (root / "parts/old/deep").exists()
    assert (root / "parts/young").exists()
    assert (root / "elsewhere/old").exists()
