"""Objects as a workspace holds them, without the training that makes them; and gc, later on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.exams import Exam, exam_key, offer_exam
from mnist_pipeline.store.housekeeping import Swept, sweep
from mnist_pipeline.store.memo import StageResult, remember
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.survey import AT_WORK, Policy

D, E = "d" * 64, "e" * 64  # the data set and the exam that the samples' manifest names
GRACE = timedelta(hours=24)
LATER = timedelta(hours=25)
NO_RUNS = Policy(GRACE, keep_runs=0)


def put_part(store: Store, key: str) -> str:
    store.put(f"parts/{key}/part.json", b"{}")
    store.put(f"parts/{key}/rejected.parquet", b"rejected")
    return store.put(f"parts/{key}/part.parquet", key.encode()).key


def put_dataset(store: Store, digest: str, *parts: str, exam: str = E) -> None:
    refs = [{"key": put_part(store, part), "digest": "0", "size": 1} for part in parts]
    index = store.put(f"datasets/i{digest[1:]}.index.parquet", b"index").to_json()
    record = {"parts": refs, "index": index, "exam": exam}
    store.put(f"datasets/{digest}.json", readable_json(record))


def put_exam(store: Store, digest: str) -> Exam:
    exam = Exam(digest, "official", "c", (), store.put(exam_key(digest), digest.encode()))
    offer_exam(store, exam)
    return exam


def put_run(store: Store, run: str, stage_key: str = "") -> None:
    """A finished run: stage records, a bundle, rejected rows and, if asked for, a memo."""
    store.put(f"runs/{run}/stages/01-ingest.json", b"{}")
    bundle = store.put(f"runs/{run}/bundle/model.json", run.encode())
    store.put(f"quarantine/{run}/rejected.parquet", b"rows")
    if stage_key:
        remember(store, "train", StageResult(stage_key, {"model.json": bundle}, {}, 1.0))


def keys(store: Store) -> set[str]:
    return {info.key for info in store.list("")}


def claim(store: Store, **changes) -> str:
    """A claim of a version as the owner with these changes; its folder."""
    registry = Registry(store)
    number = registry.claim("digits", "r9", "key")
    folder = registry.prefix("digits", number)
    whose = dataclasses.asdict(dataclasses.replace(Owner.this(), **changes))
    store.put(f"{folder}/claim.json", readable_json({"run": "r9", "owner": whose}))
    store.put(f"{folder}/model.json", b"weights")
    return folder


def sign(store: Store, run: str, **changes) -> None:
    whose = dataclasses.asdict(dataclasses.replace(Owner.this(), **changes))
    store.put(f"runs/{run}/{AT_WORK}", readable_json({"owner": whose}))


def make_older(store: Store, hours: float) -> None:
    assert store.root
    for path in store.root.rglob("*"):
        then = path.lstat().st_mtime - 3600 * hours
        os.utime(path, (then, then))


def gc(store: Store, policy: Policy = NO_RUNS, *, dry_run: bool = False, after=LATER) -> Swept:
    return sweep(store, policy, dry_run=dry_run, now=datetime.now(UTC) + after)


def names(swept: Swept) -> dict[str, list[str]]:
    """What was removed, by kind; the others left out."""
    return {kind: [name for name, _ in things] for kind, things in swept.removed.items() if things}


@contextmanager
def at_call(wanted: str, act) -> Iterator[None]:
    """Inside, `act` happens once, right after a store call on a key that ends so."""
    before, done = Store._called, []

    def called(_store: Store, operation: str, key: str) -> None:
        if f"{operation} {key}".endswith(wanted) and not done:
            done.append(key)
            act()

    Store._called = called  # type: ignore[method-assign]
    try:
        yield
    finally:
        Store._called = before  # type: ignore[method-assign]
    assert done, f"there was no {wanted}"
