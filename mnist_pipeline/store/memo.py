"""Memos: what a stage made the last time it was asked for exactly the same thing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mnist_pipeline.refs import Ref, code_digest, digest_of, readable_json
from mnist_pipeline.store.objects import ObjectMissingError, Store


def stage_key(
    stage: str, version: int, *, inputs: Mapping[str, str], config: Mapping[str, Any]
) -> str:
    """The name of a stage's result: a sha256 over everything that can change it.

    Args:
        stage: its name.
        version: raised when its meaning changes.
        inputs: the digests of what goes in, by role.
        config: the resolved configuration of this stage alone, JSON-able.
    """
    return digest_of(
        {
            "stage": stage,
            "version": version,
            "code": code_digest(),
            "inputs": dict(inputs),
            "config": dict(config),
        }
    )


@dataclasses.dataclass(frozen=True)
class StageResult:
    """What a stage left in the store, and a few small facts about it.

    Attributes:
        key: its stage key.
        outputs: references by role.
        facts: JSON-able, small.
        seconds: how long it took when it was made.
        reused: whether it came from a memo.
    """

    key: str
    outputs: Mapping[str, Ref]
    facts: Mapping[str, Any]
    seconds: float
    reused: bool = False


def remember(store: Store, stage: str, result: StageResult) -> None:
    """Writes the memo of a finished stage; its objects are in the store already."""
    memo = {
        "stage": stage,
        "outputs": {role: ref.to_json() for role, ref in result.outputs.items()},
        "facts": dict(result.facts),
        "seconds": result.seconds,
    }
    store.put(f"stages/{result.key}.json", readable_json(memo))


def recall(store: Store, key: str) -> StageResult | None:
    """The remembered result for a key, if all its objects are there and verify."""
    memo_key = f"stages/{key}.json"
    try:
        data = store.get(memo_key)
        memo = json.loads(data)
        outputs = {role: Ref.from_json(ref) for role, ref in memo["outputs"].items()}
        facts, seconds = memo["facts"], memo["seconds"]
    except (ObjectMissingError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not hold_on_to(store, memo_key, data, outputs.values()):
        return None
    return StageResult(key, outputs, facts, seconds, reused=True)


def hold_on_to(
    store: Store,
    key: str,
    data: bytes,
    refs: Iterable[Ref],
    *,
    unless: Callable[[], bool] = lambda: False,
) -> bool:
    """Whether a record and all it names can be used; if so, `gc` leaves them alone from now on.

    Reading makes nothing younger, so the record is written anew, and only then are its objects
    looked at: `gc` removes a record before its objects, so that whatever it has begun to take away
    is noticed by one of the two looks.

    Args:
        store: where.
        key: the record's.
        data: its bytes, unchanged.
        refs: what it names.
        unless: says that they are as they were when somebody verified them: then they are not read.
    """
    store.put(key, data)
    return (unless() or all(store.verifies(ref) for ref in refs)) and store.exists(key)
