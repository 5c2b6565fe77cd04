"""Records of inputs: files are known by size and time, unless they may have changed unseen."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from mnist_pipeline.refs import code_digest
from mnist_pipeline.store.inputs import (
    SETTLED_NS,
    InputRecord,
    objects_below,
    quarantined,
    read_record,
    record_name,
    stamps_of,
    write_record,
)
from mnist_pipeline.store.objects import Store

RECORD = InputRecord(
    plugin="csv.v1",
    options={"labelled": True},
    paths=("/landing/a.csv",),
    contract="c",
    key="k",
    files=((10, 5_000_000_000),),
    looked=5_000_000_000 + SETTLED_NS + 1,
    objects={"parts/k/part.parquet": "7 then"},
)
FAULT = {"headline": "a.csv is empty", "facts": {}, "remedy": "fetch it"}


def test_a_record_is_read_back(store: Store) -> None:
    write_record(store, RECORD)
    name = record_name("csv.v1", {"labelled": True}, ("/landing/a.csv",), "c")
    assert read_record(store, name) == RECORD
    assert read_record(store, record_name("csv.v1", {}, ("/landing/a.csv",), "c")) is None
    for damaged in (b"", b"[]", b"{}", b'{"paths": [], "files": [], "what": 1}', b"\xff"):
        store.put(name, damaged)
        assert read_record(store, name) is None


def test_files_are_known_by_size_and_time() -> None:
    assert RECORD.still_holds(((10, 5_000_000_000),))
    for other in (((11, 5_000_000_000),), ((10, 5_000_000_001),), (), None):
        assert not RECORD.still_holds(other)


def test_what_was_written_just_before_it_was_read_may_have_changed_since() -> None:
    at_once = dataclasses.replace(RECORD, looked=5_000_000_000 + SETTLED_NS)
    assert not at_once.still_holds(RECORD.files)
    from_the_future = dataclasses.replace(RECORD, looked=4_000_000_000)
    assert not from_the_future.still_holds(RECORD.files)


def test_bytes_that_could_not_be_hashed_are_never_known() -> None:
    assert not dataclasses.replace(RECORD, key="").still_holds(RECORD.files)


def test_only_the_same_code_need_not_try_the_same_bytes_again() -> None:
    bad = dataclasses.replace(RECORD, objects={}, fault=FAULT, code=code_digest())
    assert bad.unreadable("k") == FAULT
    assert bad.unreadable("other bytes") is None
    assert dataclasses.replace(bad, code="older").unreadable("k") is None
    # A part that has too many bad rows can be read: whether they are too many may change.
    assert dataclasses.replace(bad, objects=RECORD.objects).unreadable("k") is None


def test_stamps_are_of_regular_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    os.utime(file, ns=(1, 2_000_000_123))
    assert stamps_of([file]) == ((5, 2_000_000_123),)
    for paths in ([], [tmp_path], [file, tmp_path / "missing"]):
        assert stamps_of(paths) is None


def test_objects_are_described_by_a_listing(store: Store) -> None:
    for name in ("part.parquet", "part.json"):
        store.put(f"parts/k/{name}", b"one")
    keys = ["parts/k/part.parquet", "parts/k/rejected.parquet"]
    before = objects_below(store, "parts/k", keys)
    assert list(before) == keys[:1]
    store.put("parts/k/part.json", b"two")
    assert objects_below(store, "parts/k", keys) == before
    store.put("parts/k/part.parquet", b"another")
    assert objects_below(store, "parts/k", keys) != before


def test_the_quarantined_are_listed_by_path(store: Store) -> None:
    for path in ("/landing/b.csv", "/landing/a.csv", "/landing/c.csv"):
        fault = None if path.endswith("c.csv") else FAULT
        write_record(store, dataclasses.replace(RECORD, paths=(path,), fault=fault))
    store.put("inputs/rubbish.json", b"{")
    assert [record.paths for record in quarantined(store)] == [
        ("/landing/a.csv",),
        ("/landing/b.csv",),
    ]
