"""The Store: atomic, exclusive, honest about what is missing, on disk and in memory alike."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import Ref, sha256
from mnist_pipeline.store import objects
from mnist_pipeline.store.objects import ObjectMissingError, Store

ODD_KEYS = [
    "a b/c d.json",
    "100%/p%20q",
    "é/日本/😀.json",
    "a#b?c=d&e",
    "a+b*c:d~e",
    "a\\b",
    "..a/b..c/.d",
    "%2e%2e/x",
    "a'b\"c`$(d)",
    "-rf",
    "x" * 200,
]


def missing(key: str) -> Any:
    return pytest.raises(ObjectMissingError, match=f"missing.*\n.*key: {key}")


# --- one object ---


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 500])
def test_what_is_put_can_be_got(store: Store, data: bytes) -> None:
    assert store.put("a/b/c", data, rows=3) == Ref("a/b/c", sha256(data), len(data), 3)
    assert store.get("a/b/c") == data
    with store.local("a/b/c") as path:
        assert path.read_bytes() == data
    assert store.exists("a/b/c")
    assert [(info.key, info.size) for info in store.list("a")] == [("a/b/c", len(data))]


def test_a_put_replaces_what_was_there(store: Store) -> None:
    store.put("k", b"long and old")
    store.put("k", b"new")
    assert store.get("k") == b"new"


def test_put_if_absent_never_replaces(store: Store) -> None:
    assert store.put_if_absent("a/k", b"first") is True
    assert store.put_if_absent("a/k", b"second") is False
    assert store.get("a/k") == b"first"
    store.put("a/other", b"x")
    assert store.put_if_absent("a/other", b"y") is False
    store.delete("a/k")
    assert store.put_if_absent("a/k", b"third") is True


def test_a_missing_object_is_named(store: Store) -> None:
    store.put("a/b", b"x")
    for key in ("a/c", "a", "nothing/at/all"):
        with missing(key):
            store.get(key)
        with missing(key), store.local(key):
            pass
        assert not store.exists(key)
    assert ObjectMissingError("x").exit_code == IntegrityError.exit_code == 5


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put("a/b", b"x")
    store.put("a/c", b"y")
    for _ in range(2):
        store.delete("a/b")
    assert not store.exists("a/b")
    assert store.get("a/c") == b"y"
    store.delete("never/there")


def test_what_a_listing_says_of_an_object_can_be_asked_for(store: Store) -> None:
    assert store.info("a/b") is None
    before = datetime.now(UTC) - timedelta(seconds=2)
    store.put("a/b", b"four")
    (listed,) = store.list("a")
    assert store.info("a/b") == listed
    assert (listed.key, listed.size) == ("a/b", 4)
    assert before < listed.modified < datetime.now(UTC) + timedelta(seconds=2)


def test_an_object_may_be_removed_before_it_is_durable(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = objects.fsync

    def removed_meanwhile(path: Path) -> None:
        path.unlink()
        fsync(path)

    monkeypatch.setattr(objects, "fsync", removed_meanwhile)
    folder_store.put("a/b", b"old")
    assert folder_store.put_if_absent("a/b", b"new")
    assert not folder_store.exists("a/b")


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_kept_as_they_are(store: Store, key: str) -> None:
    key = f"top/{key}"
    store.put(key, b"1")
    assert store.get(key) == b"1"
    with store.local(key) as path:
        assert path.read_bytes() == b"1"
    assert [info.key for info in store.list("top")] == [key]
    assert store.children("top") == [key.split("/")[1]]
    assert store.put_if_absent(key, b"2") is False
    with store.scratch() as folder:
        (folder / "new").write_bytes(b"3")
        store.upload(folder / "new", key)
    assert store.get(key) == b"3"
    store.delete(key)
    assert store.list("top") == []


# --- listings ---


def test_a_listing_has_everything_below_and_nothing_beside(store: Store) -> None:
    for key in ("a/2", "a/10", "a/b/c", "ab/x", "a.json", "b/a/1"):
        store.put(key, key.encode())
    assert [info.key for info in store.list("a")] == ["a/10", "a/2", "a/b/c"]
    assert store.list("a") == store.list("a/")
    assert [info.key for info in store.list("a/b")] == ["a/b/c"]
    assert all(info.modified.tzinfo for info in store.list("a"))
    assert store.children("a") == store.children("a/") == ["10", "2", "b"]


def test_what_is_not_there_has_an_empty_listing(store: Store) -> None:
    assert list(store.list("nothing")) == list(store.children("nothing")) == []
    store.put("thing", b"")
    assert list(store.list("thi")) == list(store.children("thi")) == []


# --- files ---


@pytest.mark.parametrize("existing", [False, True])
def test_a_finished_file_is_uploaded_whole(store: Store, existing: bool) -> None:
    data = bytes(range(256)) * 4000
    if existing:
        store.put("deep/er/k", b"old")
    with store.scratch() as folder:
        path = folder / "file"
        path.write_bytes(data)
        ref = store.upload(path, "deep/er/k", rows=9)
        assert path.exists() == (store.root is None)  # on disk it is moved, not copied
    assert ref == Ref("deep/er/k", sha256(data), len(data), 9)
    assert store.get("deep/er/k") == data
    assert store.verifies(ref)


def test_a_reference_verifies_only_its_own_bytes(store: Store) -> None:
    ref = store.put("k", b"abc")
    assert store.verifies(ref)
    assert not store.verifies(Ref("other", ref.digest, ref.size))
    assert not store.verifies(Ref("k", sha256(b"abd"), 3))
    assert not store.verifies(Ref("k", ref.digest, 4))
    assert not store.verifies(Ref("a//b/../\x00", ref.digest, 3))  # no key at all
    store.put("k", b"abd")
    assert not store.verifies(ref)
    store.delete("k")
    assert not store.verifies(ref)


def test_what_goes_wrong_while_reading_a_local_copy_is_passed_on_as_it_is(store: Store) -> None:
    store.put("k", b"abc")
    error = FileNotFoundError(2, "No such file", "my own file")
    with pytest.raises(FileNotFoundError, match="my own file"), store.local("k"):
        raise error


def test_a_local_copy_from_elsewhere_is_removed() -> None:
    store = Store.open("memory://")
    store.put("k", b"abc")
    with store.local("k") as path:
        assert path.exists()
    assert not path.parent.exists()


# --- races ---


def test_of_racing_threads_exactly_one_wins_each_key(store: Store) -> None:
    start = threading.Barrier(6)

    def runner(me: int) -> list[bool]:
        start.wait()
        return [store.put_if_absent(f"race/{key}", b"%d" % me) for key in range(30)]

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(runner, range(6)))
    for key, outcomes in enumerate(zip(*results, strict=True)):
        assert sum(outcomes) == 1
        assert store.get(f"race/{key}") == b"%d" % outcomes.index(True)
    assert len(store.list("race")) == 30


def test_of_racing_processes_exactly_one_wins_each_key(shared_store: Store, race: Any) -> None:
    program = "result = [store.put_if_absent(f'race/{k}', b'%d' % me) for k in range(100)]"
    results = race(shared_store.place, program)
    for key, outcomes in enumerate(zip(*results, strict=True)):
        assert sum(outcomes) == 1
        assert shared_store.get(f"race/{key}") == b"%d" % outcomes.index(True)
    assert len(shared_store.list("race")) == 100
    if shared_store.root:
        assert len(list((shared_store.root / "race").iterdir())) == 100  # no half-written rest


def test_a_reader_sees_old_bytes_or_new_ones_never_a_mixture(store: Store) -> None:
    contents = [bytes([n]) * 200_000 for n in range(2)]
    store.put("k", contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(40):
            store.put("k", contents[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not done.is_set():
        assert store.get("k") in contents
        reads += 1
    writer.join()
    assert reads > 0


@pytest.mark.slow
def test_a_folder_may_be_tidied_away_while_a_file_goes_into_it(
    folder_store: Store, tmp_path: Path
) -> None:
    over = threading.Event()

    def tidy() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                (folder_store.root / "slices").rmdir()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(tidy)
        try:
            for number in range(200):
                (tmp_path / "finished").write_text(str(number))
                folder_store.upload(tmp_path / "finished", "slices/one")
                assert folder_store.get("slices/one") == str(number).encode()
                folder_store.delete("slices/one")
        finally:
            over.set()
    with pytest.raises(FileNotFoundError):
        folder_store.upload(tmp_path / "finished", "slices/one")
