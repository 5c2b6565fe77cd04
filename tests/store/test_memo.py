"""Memos: believed only if everything they speak of is there and unaltered."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from mnist_pipeline.refs import Ref
from mnist_pipeline.store import memo
from mnist_pipeline.store.memo import StageResult, hold_on_to, recall, remember, stage_key
from mnist_pipeline.store.objects import Store

KEY = "k" * 64
ARGUMENTS: dict[str, Any] = {
    "stage": "train",
    "version": 1,
    "inputs": {"dataset": "a", "normalizer": "b"},
    "config": {"train": {"seed": 1, "epochs": 2}, "model": {"kind": "mlp.v1"}},
}


def key(**changes: Any) -> str:
    return stage_key(**(ARGUMENTS | changes))


def test_a_stage_key_changes_with_every_ingredient(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"stage": "evaluate"},
        {"version": 2},
        {"inputs": {"dataset": "b", "normalizer": "a"}},
        {"inputs": {"dataset": "a", "normaliser": "b"}},
        {"inputs": {"dataset": "a"}},
        {"inputs": {"dataset": "a", "normalizer": "b", "exam": "c"}},
        {"inputs": {}},
        {"config": {"train": {"seed": 2, "epochs": 2}, "model": {"kind": "mlp.v1"}}},
        {"config": {"train": {"seed": 1, "epochs": 2}, "model": {"kind": "mlp.v2"}}},
        {"config": {"train": {"seed": "1", "epochs": 2}, "model": {"kind": "mlp.v1"}}},
        {"config": {}},
        # What stands in one of the two must not count as the other.
        {"inputs": {}, "config": ARGUMENTS["inputs"]},
    ]
    keys = [key(**change) for change in changes]
    monkeypatch.setattr(memo, "code_digest", lambda: "other code")
    keys.append(key())
    assert len(set(keys)) == len(changes) + 1
    assert all(len(word) == 64 for word in keys)


def test_a_stage_key_does_not_depend_on_the_order_of_names() -> None:
    config = {"model": {"kind": "mlp.v1"}, "train": {"epochs": 2, "seed": 1}}
    assert key(inputs={"normalizer": "b", "dataset": "a"}, config=config) == key() == key()


def finished(store: Store, **outputs: bytes) -> StageResult:
    refs = {role: store.put(f"runs/r/{role}", data) for role, data in outputs.items()}
    return StageResult(KEY, refs, {"steps": 12, "note": "é"}, 1.5)


@pytest.mark.parametrize("outputs", [{"model": b"weights", "log": b""}, {}])
def test_what_is_remembered_is_recalled(store: Store, outputs: dict[str, bytes]) -> None:
    result = finished(store, **outputs)
    assert recall(store, KEY) is None
    remember(store, "train", result)
    assert recall(store, KEY) == StageResult(
        KEY, result.outputs, result.facts, result.seconds, reused=True
    )
    assert recall(store, "x" * 64) is None


def test_a_later_memo_replaces_the_earlier(store: Store) -> None:
    remember(store, "train", finished(store, model=b"one"))
    second = finished(store, model=b"two")
    remember(store, "train", second)
    found = recall(store, KEY)
    assert found is not None
    assert found.outputs == second.outputs


@pytest.mark.parametrize("change", ["deleted", "altered", "cut", "longer"])
@pytest.mark.parametrize("role", ["model", "log"])
def test_a_memo_of_missing_or_altered_objects_is_ignored(
    store: Store, change: str, role: str
) -> None:
    remember(store, "train", finished(store, model=b"weights", log=b"history"))
    target = f"runs/r/{role}"
    data = store.get(target)
    if change == "deleted":
        store.delete(target)
    else:
        store.put(target, {"altered": b"X" + data[1:], "cut": data[:-1]}.get(change, data + b" "))
    assert recall(store, KEY) is None
    store.put(target, data)
    assert recall(store, KEY) is not None


def test_a_memo_that_is_cut_anywhere_is_ignored(folder_store: Store) -> None:
    result = finished(folder_store, model=b"weights")
    remember(folder_store, "train", result)
    place = f"stages/{KEY}.json"
    whole = folder_store.get(place)
    path = folder_store.root / place
    for length in range(len(whole.rstrip())):
        path.write_bytes(whole[:length])
        assert recall(folder_store, KEY) is None


REF = {"key": "runs/r/model", "digest": "0" * 64, "size": 7}


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": None},
        {"outputs": []},
        {"outputs": "x"},
        {"outputs": {"model": None}},
        {"outputs": {"model": "x"}},
        {"outputs": {"model": {"key": "runs/r/model"}}},
        {"outputs": {"model": REF}},
        {"outputs": {"model": REF | {"key": "../model"}}},
        {"outputs": {"model": REF | {"key": "runs//\x00"}}},
    ],
)
def test_a_memo_with_damaged_outputs_is_ignored(store: Store, change: dict[str, Any]) -> None:
    remember(store, "train", finished(store, model=b"weights"))
    place = f"stages/{KEY}.json"
    store.put(place, json.dumps(json.loads(store.get(place)) | change).encode())
    assert recall(store, KEY) is None


@pytest.mark.parametrize("content", [b"[]", b"null", b"3", b"{}", b"\xff", b'{"outputs": {}}'])
def test_what_is_no_memo_is_ignored(store: Store, content: bytes) -> None:
    store.put(f"stages/{KEY}.json", content)
    assert recall(store, KEY) is None


def test_what_is_recalled_becomes_young(folder_store: Store) -> None:
    result = finished(folder_store, model=b"weights")
    remember(folder_store, "train", result)
    path = folder_store.root / f"stages/{KEY}.json"
    before = path.read_bytes()
    os.utime(path, (0, 0))
    assert recall(folder_store, KEY) is not None
    assert path.stat().st_mtime > 0
    assert path.read_bytes() == before
    assert (folder_store.root / "runs/r/model").stat().st_mtime > 0


def test_a_record_that_is_taken_away_meanwhile_cannot_be_held_on_to(store: Store) -> None:
    ref = store.put("runs/r/model", b"weights")
    verifies = store.verifies

    def taken_away_meanwhile(ref: Ref) -> bool:
        whole = verifies(ref)
        store.delete("stages/k.json")
        return whole

    assert hold_on_to(store, "stages/k.json", b"{}", [ref])
    store.verifies = taken_away_meanwhile  # type: ignore[method-assign]
    assert not hold_on_to(store, "stages/k.json", b"{}", [ref])
