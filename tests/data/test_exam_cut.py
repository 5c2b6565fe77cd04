"""Cutting the exam: each question once, none with two answers, and none of them trains."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_samples import Snapshot, digests_of, snapshots, steady

from mnist_pipeline.data.split import Side, official_exam, share_exam, share_of


def questions(snapshot: Snapshot, chosen: np.ndarray) -> list[int]:
    """The images of the chosen rows."""
    return [snapshot.images[row] for row in np.flatnonzero(chosen)]


def is_first(snapshot: Snapshot, row: int, rows: list[bool]) -> bool:
    """Whether no earlier one of these rows has the same image."""
    return not any(
        rows[other] and snapshot.images[other] == snapshot.images[row] for other in range(row)
    )


@steady
@given(snapshots())
def test_an_official_exam_is_cut_and_assigned_alike(snapshot: Snapshot) -> None:
    chosen = official_exam(*snapshot.arrays)
    clean = [
        part == "exam" and not snapshot.conflicts(row) for row, part in enumerate(snapshot.parts)
    ]
    for row in range(len(clean)):
        assert chosen[row] == (clean[row] and is_first(snapshot, row, clean))
    # An official exam comes from official parts; no part to learn from is its origin.
    parts = [part if part == "exam" else "new" for part in snapshot.parts]
    first = dataclasses.replace(snapshot, parts=parts, exam=questions(snapshot, chosen))
    found = first.assign(official_is_exam=True)
    assert np.array_equal(found.sides == Side.EXAM, chosen)


@steady
@given(snapshots(), st.floats(0, 1, exclude_max=True))
def test_a_share_exam_is_cut_and_assigned_alike(snapshot: Snapshot, fraction: float) -> None:
    digests, labels, official = snapshot.arrays
    chosen = share_exam(digests, labels, official, fraction)
    share = share_of(digests, 0)
    candidates = [
        part != "exam" and not snapshot.conflicts(row) and bool(share[row] < fraction)
        for row, part in enumerate(snapshot.parts)
    ]
    for row in range(len(candidates)):
        assert chosen[row] == (candidates[row] and is_first(snapshot, row, candidates))
    # At the first training all learnable parts are its origin; no question is an overlap then.
    parts = [part if part == "exam" else "origin" for part in snapshot.parts]
    first = dataclasses.replace(snapshot, parts=parts, exam=questions(snapshot, chosen))
    found = first.assign(official_is_exam=False)
    assert np.array_equal(found.sides == Side.EXAM, chosen)
    assert not found.exam_overlap.any()
    # A question asked twice is used for nothing, like the rows of an official test part.
    assert np.array_equal(
        found.sides == Side.SET_ASIDE, official | (np.array(candidates, np.bool_) & ~chosen)
    )


@steady
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_same_questions_are_cut_in_whatever_order(snapshot: Snapshot, random) -> None:
    order = list(range(len(snapshot.images)))
    random.shuffle(order)
    turned = snapshot.rows(order)
    for cut in (official_exam, lambda *rows: share_exam(*rows, 0.5)):
        found = questions(snapshot, cut(*snapshot.arrays))
        assert sorted(found) == sorted(questions(turned, cut(*turned.arrays)))
        assert max(Counter(found).values(), default=1) == 1


@pytest.mark.parametrize("part", ["exam", "origin"])
def test_of_equal_images_the_first_is_asked(part: str) -> None:
    snapshot = Snapshot([5, 7, 5, 7, 7, 8], [1, 2, 1, 2, 2, 0], [part] * 6, [5, 7, 8])
    once = [True, True, False, False, False, True]
    digests, labels, official = snapshot.arrays
    if part == "exam":
        chosen = official_exam(digests, labels, official)
    else:
        chosen = share_exam(digests, labels, official, 1.0)
    assert chosen.tolist() == once
    found = snapshot.assign(official_is_exam=part == "exam")
    assert found.sides.tolist() == [Side.EXAM if asked else Side.SET_ASIDE for asked in once]
    assert not (found.conflicting | found.exam_overlap).any()


@pytest.mark.parametrize("count", [0, 3])
def test_where_nothing_is_official_no_official_exam_is_cut(count: int) -> None:
    snapshot = Snapshot([1] * count, [0] * count, ["new"] * count, [])
    assert official_exam(*snapshot.arrays).tolist() == [False] * count
    assert share_exam(*snapshot.arrays, 0.0).tolist() == [False] * count


@steady
@given(st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_larger_share_contains_the_smaller(one: float, other: float) -> None:
    ids = list(range(300))
    smaller, larger = (
        share_exam(digests_of(ids), np.zeros(300, np.uint8), np.zeros(300, np.bool_), fraction)
        for fraction in sorted((one, other))
    )
    assert not (smaller & ~larger).any()
