"""Checkpoints in the store: the newest one that is whole, or none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from workspace_samples import GRACE, gc, keys, names

from mnist_pipeline.model.checkpoint import Checkpoint, generator_state, restore_generator
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.checkpoints import StoredCheckpoints
from mnist_pipeline.store.objects import Store

NAME = "a" * 64
RECORD = f"checkpoints/{NAME}/checkpoint.json"


def checkpoint_of(step: int) -> Checkpoint:
    """A checkpoint with arrays of every dtype that a training keeps, and awkward numbers."""
    rng = np.random.default_rng(step)
    arrays = {
        "parameters": rng.standard_normal(1000).astype(np.float32),
        "moment0": rng.standard_normal((3, 4)),
        "lit0": rng.random(64) > 0.5,
        "order": rng.permutation(100),
        "empty": np.zeros(0, np.float32),
    }
    generator = np.random.default_rng(step)
    generator.random(3, np.float32)  # leaves half a number behind
    facts = {
        "generators": {"order": generator_state(generator)},
        "losses": [0.1 + 0.2, 1e-300, 1 / 3],
        "watch": {"sum": 2.5, "previous": None},
        "history": [{"step": 1, "loss": 0.1, "validation_accuracy": None}],
    }
    return Checkpoint(step, arrays, facts)


def assert_same(one: Checkpoint | None, two: Checkpoint) -> None:
    assert one is not None
    assert (one.step, one.facts) == (two.step, two.facts)
    assert sorted(one.arrays) == sorted(two.arrays)
    for name, array in two.arrays.items():
        assert one.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(one.arrays[name], array)


def test_what_was_saved_is_loaded(store: Store) -> None:
    checkpoints = StoredCheckpoints(store, NAME)
    assert checkpoints.load() is None
    checkpoints.save(checkpoint_of(0))
    assert_same(checkpoints.load(), checkpoint_of(0))
    assert_same(StoredCheckpoints(store, NAME).load(), checkpoint_of(0))


def test_a_generator_goes_on_as_if_undisturbed(store: Store) -> None:
    StoredCheckpoints(store, NAME).save(checkpoint_of(5))
    loaded = StoredCheckpoints(store, NAME).load()
    assert loaded
    again, undisturbed = np.random.default_rng(0), np.random.default_rng(5)
    undisturbed.random(3, np.float32)
    restore_generator(again, loaded.facts["generators"]["order"])
    np.testing.assert_array_equal(again.random(7, np.float32), undisturbed.random(7, np.float32))
    np.testing.assert_array_equal(again.permutation(50), undisturbed.permutation(50))


def test_the_newest_takes_the_place_of_all_before(store: Store) -> None:
    checkpoints = StoredCheckpoints(store, NAME)
    for step in (1000, 2000, 500):
        checkpoints.save(checkpoint_of(step))
        assert_same(checkpoints.load(), checkpoint_of(step))
        assert keys(store) == {RECORD, f"checkpoints/{NAME}/{step}.safetensors"}


def test_the_same_step_twice(store: Store) -> None:
    checkpoints = StoredCheckpoints(store, NAME)
    checkpoints.save(checkpoint_of(7))
    checkpoints.save(checkpoint_of(7))
    assert_same(checkpoints.load(), checkpoint_of(7))


def test_each_training_has_its_own(store: Store) -> None:
    mine, other = StoredCheckpoints(store, NAME), StoredCheckpoints(store, "b" * 64)
    mine.save(checkpoint_of(1))
    assert other.load() is None
    other.save(checkpoint_of(2))
    mine.clear()
    assert mine.load() is None
    assert_same(other.load(), checkpoint_of(2))


def test_a_fresh_training_sees_only_its_own(store: Store) -> None:
    StoredCheckpoints(store, NAME).save(checkpoint_of(1))
    fresh = StoredCheckpoints(store, NAME, fresh=True)
    assert fresh.load() is None
    assert_same(StoredCheckpoints(store, NAME).load(), checkpoint_of(1))
    fresh.save(checkpoint_of(2))
    assert_same(fresh.load(), checkpoint_of(2))


def test_clear_leaves_nothing_and_may_be_asked_twice(store: Store) -> None:
    checkpoints = StoredCheckpoints(store, NAME)
    checkpoints.clear()
    checkpoints.save(checkpoint_of(1))
    store.put(f"checkpoints/{NAME}/900.safetensors", b"left by somebody who was killed")
    checkpoints.clear()
    checkpoints.clear()
    assert keys(store) == set()


class PowerCutError(Exception):
    pass


def test_broken_off_anywhere_one_of_the_two_is_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = checkpoint_of(10), checkpoint_of(20)
    seen = []
    for cut in range(1, 20):
        checkpoints = StoredCheckpoints(store, NAME)
        checkpoints.clear()
        checkpoints.save(first)
        calls = iter(range(1, 100))

        def called(_store: Store, _operation: str, _key: str, cut=cut, calls=calls) -> None:
            if next(calls) == cut:
                raise PowerCutError

        with monkeypatch.context() as patched:
            patched.setattr(Store, "_called", called)
            try:
                checkpoints.save(second)
            except PowerCutError:
                pass
            else:
                break
        loaded = checkpoints.load()
        assert loaded
        assert_same(loaded, {10: first, 20: second}[loaded.step])
        seen.append(loaded.step)
    assert set(seen) == {10, 20}
    assert seen == sorted(seen)


# --- damage ---


def change_byte(data: bytes, at: float) -> bytes:
    place = int(at * (len(data) - 1))
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda data: data[: len(data) // 2],
    "last byte gone": lambda data: data[:-1],
    "first byte": lambda data: change_byte(data, 0),
    "a byte in the middle": lambda data: change_byte(data, 0.5),
    "last byte": lambda data: change_byte(data, 1),
    "zeros": lambda data: b"\0" * len(data),
    "not UTF-8": lambda _: b"\xff\xfe\xff",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_arrays_are_no_checkpoint(store: Store, damage: Callable[[bytes], bytes]) -> None:
    checkpoints = StoredCheckpoints(store, NAME)
    checkpoints.save(checkpoint_of(3))
    key = f"checkpoints/{NAME}/3.safetensors"
    store.put(key, damage(store.get(key)))
    assert checkpoints.load() is None
    store.delete(key)
    assert checkpoints.load() is None
    checkpoints.save(checkpoint_of(3))
    assert_same(checkpoints.load(), checkpoint_of(3))


OTHER_JSON: dict[str, Callable[[bytes], bytes]] = {
    **{name: damage for name, damage in DAMAGE.items() if name != "last byte gone"},  # a newline
    "a list": lambda _: b"[]",
    "a number": lambda _: b"7",
    "text": lambda _: b'"text"',
    "null": lambda _: b"null",
    "an empty object": lambda _: b"{}",
    "another step": lambda data: data.replace(b'"step": 3,', b'"step": 4,', 1),
    "another loss": lambda data: data.replace(b"1e-300", b"1e-200"),
    "another draw": lambda data: data.replace(b'"has_uint32": 1', b'"has_uint32": 0'),
    "no facts": lambda data: readable_json({**json.loads(data), "facts": {}}),
    "no arrays": lambda data: readable_json({**json.loads(data), "arrays": None}),
    "a strange key": lambda data: data.replace(b"3.safetensors", b"../../../3.safetensors"),
}


@pytest.mark.parametrize("damage", OTHER_JSON.values(), ids=OTHER_JSON)
def test_a_damaged_record_is_no_checkpoint(store: Store, damage: Callable[[bytes], bytes]) -> None:
    checkpoints = StoredCheckpoints(store, NAME)
    checkpoints.save(checkpoint_of(3))
    data = store.get(RECORD)
    assert damage(data) != data
    store.put(RECORD, damage(data))
    assert checkpoints.load() is None
    checkpoints.save(checkpoint_of(4))
    assert_same(checkpoints.load(), checkpoint_of(4))


# --- gc ---


def test_gc_removes_old_checkpoints_only(store: Store) -> None:
    StoredCheckpoints(store, NAME).save(checkpoint_of(3))
    assert names(gc(store, after=GRACE - timedelta(minutes=1))) == {}
    assert_same(StoredCheckpoints(store, NAME).load(), checkpoint_of(3))
    looked = gc(store, dry_run=True)
    assert names(looked) == {"checkpoints": [NAME]}
    assert_same(StoredCheckpoints(store, NAME).load(), checkpoint_of(3))
    assert names(gc(store)) == {"checkpoints": [NAME]}
    assert keys(store) == set()
    if store.root:
        assert not (Path(store.root) / "checkpoints" / NAME).exists()


def test_gc_leaves_a_young_checkpoint_beside_an_old_one(folder_store: Store) -> None:
    StoredCheckpoints(folder_store, NAME).save(checkpoint_of(3))
    StoredCheckpoints(folder_store, "b" * 64).save(checkpoint_of(4))
    # Saved again lately: its newest object counts.
    record = Path(folder_store.root or "") / RECORD
    then = record.stat().st_mtime + 25 * 3600
    os.utime(record, (then, then))
    assert names(gc(folder_store)) == {"checkpoints": ["b" * 64]}
    assert_same(StoredCheckpoints(folder_store, NAME).load(), checkpoint_of(3))
