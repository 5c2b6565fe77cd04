"""gc at any time: beside runs at work, beside whoever writes, and broken off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from store_samples import make_bundle, make_manifest, publish_bundle
from workspace_samples import (
    D,
    E,
    at_call,
    claim,
    gc,
    make_older,
    names,
    put_dataset,
    put_exam,
    put_part,
    put_run,
    sign,
)

from mnist_pipeline.store.bundles import why_unusable
from mnist_pipeline.store.exams import freeze_exam
from mnist_pipeline.store.memo import recall
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.survey import AT_WORK


def test_while_a_run_is_at_work_all_that_is_younger_stays(folder_store: Store) -> None:
    put_part(folder_store, "before")
    make_older(folder_store, 10)
    sign(folder_store, "r1")
    put_part(folder_store, "since")
    make_older(folder_store, 90)  # it has been at work for days
    swept = gc(folder_store, after=timedelta(0))
    assert swept.at_work == ("r1",)
    assert names(swept) == {"parts": ["before"]}
    folder_store.delete(f"runs/r1/{AT_WORK}")
    assert names(gc(folder_store, after=timedelta(0))) == {"parts": ["since"]}


def test_the_sign_of_a_dead_process_stands_for_nothing(store: Store, dead_pid: int) -> None:
    sign(store, "r1", pid=dead_pid)
    put_part(store, "orphan")
    swept = gc(store)
    assert swept.at_work == ()
    assert names(swept) == {"runs": ["r1"], "parts": ["orphan"]}


def test_a_run_elsewhere_is_at_work_while_it_gives_signs_of_life(folder_store: Store) -> None:
    sign(folder_store, "r1", host="another-host")
    put_part(folder_store, "used")
    make_older(folder_store, 48)
    folder_store.put("runs/r1/stages/03-normalize.json", b"{}")
    assert names(gc(folder_store, after=timedelta(hours=23))) == {}
    assert names(gc(folder_store)) == {"runs": ["r1"], "parts": ["used"]}


@pytest.mark.parametrize("last_look", ["list stages", "list models", "info parts/p0/part.json"])
def test_what_was_written_since_the_survey_stays(folder_store: Store, last_look: str) -> None:
    put_part(folder_store, "p0")
    put_part(folder_store, "p1")
    make_older(folder_store, 48)
    with at_call(last_look, lambda: folder_store.put("parts/p1/part.json", b"{}")):
        swept = gc(folder_store, after=timedelta(0))
    assert names(swept) == {"parts": ["p0"]}
    assert folder_store.exists("parts/p1/part.parquet")


def test_a_record_that_came_back_keeps_what_it_names(folder_store: Store) -> None:
    put_dataset(folder_store, "0" * 64, "p1")
    put_run(folder_store, "r1", "m1")
    record = folder_store.get(f"datasets/{'0' * 64}.json")
    memo = folder_store.get("stages/m1.json")
    make_older(folder_store, 48)
    with (
        at_call("delete stages/m1.json", lambda: folder_store.put("stages/m1.json", memo)),
    ):
        assert names(gc(folder_store, after=timedelta(0)))["memos"] == ["m1"]
    assert folder_store.exists("runs/r1/bundle/model.json")
    put_dataset(folder_store, "0" * 64, "p1")
    make_older(folder_store, 48)
    key = f"datasets/{'0' * 64}.json"
    with at_call(f"delete {key}", lambda: folder_store.put(key, record)):
        swept = gc(folder_store, after=timedelta(0))
    assert "parts" not in names(swept)
    assert folder_store.exists("parts/p1/part.parquet")


def test_a_version_published_since_the_survey_is_no_abandoned_claim(
    world: Store, dead_pid: int
) -> None:
    claim(world, pid=dead_pid)
    manifest = make_manifest("digits", 2)
    with at_call("list models/digits/versions", lambda: Registry(world).publish(manifest)):
        swept = gc(world)
    assert "claims" not in names(swept)
    assert world.exists("models/digits/versions/2/model.json")


class Killed(BaseException):
    """Nobody catches it: the process is gone."""


@contextmanager
def killed_after(calls: int) -> Iterator[list[str]]:
    """Inside, the process dies at the store call after so many; yields the calls it came to."""
    before, done = Store._called, []

    def called(_store: Store, operation: str, key: str) -> None:
        done.append(f"{operation} {key}")
        if len(done) > calls:
            raise Killed

    Store._called = called  # type: ignore[method-assign]
    try:
        yield done
    finally:
        Store._called = before  # type: ignore[method-assign]


def paths_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
def test_broken_off_anywhere_the_next_one_goes_on(tmp_path: Path, dead_pid: int) -> None:
    full, folder = Store.open(tmp_path / "full"), tmp_path / "copy"
    put_dataset(full, D, "p1")
    freeze_exam(full, "digits", put_exam(full, E))
    publish_bundle(full, make_bundle())
    put_dataset(full, "0" * 64, "orphan", "p1")
    put_exam(full, "f" * 64)
    put_run(full, "r1", "m1")
    put_run(full, "r2", "m2")
    claim(full, pid=dead_pid)
    orphan = f"datasets/{'0' * 64}.json"
    done: set[str] = set()
    for calls in (10**6, *range(1000)):  # first undisturbed
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "full", folder)
        store = Store.open(folder)
        with killed_after(calls) as came_to, suppress(Killed):
            gc(store)
        if len(came_to) <= calls and done:
            break
        done = done or paths_in(folder)
        assert why_unusable(store, "digits", 1) is None
        for memo in ("m1", "m2"):
            assert not store.exists(f"stages/{memo}.json") or recall(store, memo)
        # What is named by a record is there as long as the record is.
        if store.exists(orphan):
            assert store.exists("parts/orphan/part.parquet")
        if store.exists("parts/orphan/part.json"):
            assert store.exists("parts/orphan/part.parquet")
        gc(store)
        gc(store, after=timedelta(days=3))  # empty folders go when they are old
        assert paths_in(folder) == done
    assert calls > 50
