"""Exams: the frozen rows that a model name is judged on, and which of them counts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import Ref, readable_json
from mnist_pipeline.store.objects import ObjectMissingError, Store

SHORTEST_DIGEST = 6
Kind = Literal["official", "share"]


@dataclasses.dataclass(frozen=True)
class Exam:
    """A frozen exam.

    Attributes:
        digest: over its questions and answers, whatever their order.
        kind: `official`, a source's own test part, or `share`, cut from the training data.
        contract: the fingerprint of the contract its rows obey.
        origins: the keys of the parts it was cut from.
        data: its rows as canonical Parquet.
        reason: why it became the exam of its model name.
        since: when, UTC.
        former: the exams of this name before it: digest, reason, since.
    """

    digest: str
    kind: Kind
    contract: str
    origins: tuple[str, ...]
    data: Ref
    reason: str = "first training"
    since: str = ""
    former: tuple[Mapping[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Exam:
        return cls(
            data["digest"],
            data["kind"],
            data["contract"],
            tuple(data["origins"]),
            Ref.from_json(data["data"]),
            data["reason"],
            data["since"],
            tuple(data.get("former", ())),
        )


def exam_digest(digests: NDArray[np.uint8], labels: NDArray[np.uint8]) -> str:
    """The digest of an exam: sha256 over its rows (image digest, label), sorted.

    Args:
        digests: (E, 16) uint8.
        labels: (E,) uint8.
    """
    rows = np.concatenate([digests, labels[:, None]], axis=1)
    # Big-endian numbers stand in the order of their bytes, and two sort faster than sixteen.
    first, second = np.ascontiguousarray(digests).view(">u8").astype(np.uint64).T
    order = np.lexsort((labels, second, first))
    return hashlib.sha256(rows[order].tobytes()).hexdigest()


def exam_of(store: Store, name: str) -> Exam | None:
    """The exam of a model name, or None before its first training.

    Raises:
        IntegrityError: its record is damaged.
    """
    try:
        return Exam.from_json(json.loads(store.get(_key(name))))
    except ObjectMissingError:
        return None
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(
            f"the exam record of {name!r} is damaged",
            key=_key(name),
            remedy="restore it from a backup, or choose one with `mnist-pipeline models exam set`",
        ) from None


def freeze_exam(store: Store, name: str, exam: Exam) -> Exam:
    """Makes `exam` the exam of a model name unless it has one; returns the one that counts."""
    dated = dataclasses.replace(exam, since=_now())
    store.put_if_absent(_key(name), readable_json(dated.to_json()))
    frozen = exam_of(store, name)
    assert frozen is not None
    return frozen


def offer_exam(store: Store, exam: Exam) -> None:
    """Keeps an exam that a source brought, so that it can be chosen later."""
    store.put_if_absent(f"exams/{exam.digest}.json", readable_json(exam.to_json()))


def offered_exam(store: Store, digest: str) -> Exam | None:
    """An exam that some source brought, by its digest or the beginning of it (6 digits or more).

    Raises:
        IntegrityError: its record is damaged.
    """
    matches = [
        name
        for name in store.children("exams")
        if name.endswith(".json") and name.startswith(digest)
    ]
    if len(matches) != 1 or len(digest) < SHORTEST_DIGEST:
        return None
    try:
        return Exam.from_json(json.loads(store.get(f"exams/{matches[0]}")))
    except (ValueError, KeyError, TypeError):
        raise IntegrityError(
            "the record of an exam is damaged",
            key=f"exams/{matches[0]}",
            remedy="delete it, and run the training that brought it again",
        ) from None


def set_exam(store: Store, name: str, exam: Exam, reason: str) -> Exam:
    """Makes `exam` the exam of a model name from now on; the former ones stay on record."""
    former: tuple[Mapping[str, str], ...] = ()
    try:
        known = exam_of(store, name)
    except IntegrityError:
        known = None  # choosing another is the way out of a damaged record
    if known:
        last = {"digest": known.digest, "reason": known.reason, "since": known.since}
        former = (*known.former, last)
    chosen = dataclasses.replace(exam, reason=reason, since=_now(), former=former)
    store.put(_key(name), readable_json(chosen.to_json()))
    return chosen


def exam_key(digest: str) -> str:
    """Where the rows of an exam lie."""
    return f"exams/{digest}.parquet"


def _key(name: str) -> str:
    return f"models/{name}/exam.json"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
