"""Exams: frozen by whoever is first, named by their questions, and never mixed up."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import Ref
from mnist_pipeline.store.exams import (
    Exam,
    exam_digest,
    exam_key,
    exam_of,
    freeze_exam,
    offer_exam,
    offered_exam,
    set_exam,
)
from mnist_pipeline.store.objects import Store

steady = settings(deadline=None, derandomize=True, database=None)


def exam(digest: str = "a" * 64, **changes: Any) -> Exam:
    data = Ref(exam_key(digest), "0" * 64, 10, 5)
    return dataclasses.replace(Exam(digest, "share", "c" * 64, ("p1", "p2"), data), **changes)


rows_of_exam = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=8)


def arrays(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    digests = np.zeros((len(rows), 16), np.uint8)
    digests[:, 7] = [image for image, _ in rows]
    return digests, np.array([label for _, label in rows], np.uint8)


@steady
@given(rows_of_exam, rows_of_exam)
def test_an_exam_is_its_rows_in_whatever_order(one: list, other: list) -> None:
    equal = exam_digest(*arrays(one)) == exam_digest(*arrays(other))
    assert equal == (sorted(one) == sorted(other))
    assert exam_digest(*arrays(one)) == exam_digest(*arrays(one[::-1]))


@pytest.mark.parametrize("place", range(16))
def test_every_byte_of_a_question_counts(place: int) -> None:
    digests = np.zeros((2, 16), np.uint8)
    before = exam_digest(digests, np.zeros(2, np.uint8))
    digests[1, place] = 1
    assert exam_digest(digests, np.zeros(2, np.uint8)) != before


def test_an_answer_belongs_to_its_question() -> None:
    digests, _ = arrays([(1, 0), (2, 0)])
    one = exam_digest(digests, np.array([3, 4], np.uint8))
    other = exam_digest(digests, np.array([4, 3], np.uint8))
    assert one != other


def test_the_first_to_freeze_sets_the_exam(store: Store) -> None:
    assert exam_of(store, "digits") is None
    first = freeze_exam(store, "digits", exam("a" * 64))
    assert first.digest == "a" * 64
    assert first.since
    assert freeze_exam(store, "digits", exam("b" * 64)) == first
    assert exam_of(store, "digits") == first
    assert exam_of(store, "letters") is None


def test_racing_processes_agree_on_one_exam(shared_store: Store, race: Any) -> None:
    program = """
digest = str(me) * 64
exam = Exam(digest, "share", "c", ("p",), Ref(exam_key(digest), digest, 1))
result = [freeze_exam(store, f"m{name}", exam).digest for name in range(20)]
"""
    imports = "from mnist_pipeline.store.exams import Exam, Ref, exam_key, freeze_exam"
    results = race(shared_store.place, program, imports=imports)
    for name, digests in enumerate(zip(*results, strict=True)):
        assert len(set(digests)) == 1
        found = exam_of(shared_store, f"m{name}")
        assert found is not None
        assert found.digest == digests[0]


def test_another_exam_is_set_with_its_reason(store: Store) -> None:
    freeze_exam(store, "digits", exam("a" * 64))
    chosen = set_exam(store, "digits", exam("b" * 64, kind="official"), "the test set has changed")
    assert exam_of(store, "digits") == chosen
    assert (chosen.digest, chosen.kind) == ("b" * 64, "official")
    assert chosen.reason == "the test set has changed"
    assert freeze_exam(store, "digits", exam("a" * 64)) == chosen


def test_the_former_exams_stay_on_record_in_their_order(store: Store) -> None:
    first = freeze_exam(store, "digits", exam("a" * 64))
    assert first.former == ()
    second = set_exam(store, "digits", exam("b" * 64), "more questions")
    third = set_exam(store, "digits", exam("a" * 64), "the old ones after all")
    one, other = (
        {"digest": known.digest, "reason": known.reason, "since": known.since}
        for known in (first, second)
    )
    assert (one["reason"], other["reason"]) == ("first training", "more questions")
    assert second.former == (one,)
    assert third.former == (one, other)
    assert exam_of(store, "digits") == third


def test_the_first_exam_that_is_set_has_none_before_it(store: Store) -> None:
    freeze_exam(store, "letters", exam("b" * 64))
    chosen = set_exam(store, "digits", exam("a" * 64), "chosen before any training")
    assert chosen.former == ()
    assert exam_of(store, "digits") == chosen


def test_an_exam_recorded_without_former_ones_has_none(store: Store) -> None:
    frozen = freeze_exam(store, "digits", exam())
    record = json.loads(store.get("models/digits/exam.json"))
    del record["former"]
    store.put("models/digits/exam.json", json.dumps(record).encode())
    assert exam_of(store, "digits") == frozen


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"digest": "a"}'])
def test_a_damaged_record_is_not_taken_for_a_first_training(store: Store, data: bytes) -> None:
    freeze_exam(store, "digits", exam())
    store.put("models/digits/exam.json", data)
    for read in (
        lambda: exam_of(store, "digits"),
        lambda: freeze_exam(store, "digits", exam("b" * 64)),
    ):
        with pytest.raises(IntegrityError, match="'digits' is damaged") as caught:
            read()
        assert caught.value.facts["key"] == "models/digits/exam.json"


def test_an_offered_exam_is_found_by_the_beginning_of_its_digest(store: Store) -> None:
    one, other = exam("ab" + "0" * 62), exam("ac" + "0" * 62)
    for offered in (one, other, one):
        offer_exam(store, offered)
        store.put(exam_key(offered.digest), b"rows")
    assert offered_exam(store, "ab0000") == offered_exam(store, one.digest) == one
    assert offered_exam(store, "ab0000000") == one
    assert offered_exam(store, "ac0000") == other
    assert offered_exam(store, "b00000") is None
    for too_short in ("", "a", "ab", "ab000"):
        assert offered_exam(store, too_short) is None


def test_the_beginning_of_two_digests_means_neither(store: Store) -> None:
    one, other = exam("abcdef" + "0" * 58), exam("abcdef" + "1" * 58)
    for offered in (one, other):
        offer_exam(store, offered)
    assert offered_exam(store, "abcdef") is None
    assert offered_exam(store, "abcdef1") == other


def test_no_exam_is_offered_in_an_empty_store(store: Store) -> None:
    assert offered_exam(store, "a" * 64) is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[]"])
def test_a_damaged_offer_is_named(store: Store, data: bytes) -> None:
    store.put("exams/abcdef0.json", data)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        offered_exam(store, "abcdef")
    assert caught.value.facts["key"] == "exams/abcdef0.json"
