"""The split: the same answer in whatever order, and no row ever changes sides."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from split_samples import Snapshot, digests_of, snapshots, steady

from mnist_pipeline.data.split import (
    Assignment,
    Side,
    conflicting,
    contained,
    group,
    share_of,
)


def asked(snapshot: Snapshot, found: Assignment) -> Counter[int]:
    """How often the exam asks each image."""
    return Counter(snapshot.images[row] for row in np.flatnonzero(found.sides == Side.EXAM))


# --- order, growth, shrinkage ---


@steady
@given(snapshots(), st.booleans(), st.data())
def test_the_order_of_rows_does_not_matter(snapshot: Snapshot, official: bool, data) -> None:
    order = list(data.draw(st.permutations(range(len(snapshot.images)))))
    whole = snapshot.assign(official_is_exam=official)
    turned = snapshot.rows(order).assign(official_is_exam=official)
    assert np.array_equal(turned.conflicting, whole.conflicting[order])
    assert np.array_equal(turned.exam_overlap, whole.exam_overlap[order])
    # Of several rows with one image another may be the one asked, but as many are, and the same.
    differ = turned.sides != whole.sides[order]
    for found in (turned.sides, whole.sides[order]):
        assert np.isin(found[differ], [Side.EXAM, Side.SET_ASIDE]).all()
    assert asked(snapshot.rows(order), turned) == asked(snapshot, whole)


@steady
@given(snapshots(), st.booleans(), st.data())
def test_no_row_changes_sides_when_others_come_or_go(
    snapshot: Snapshot, official: bool, data
) -> None:
    count = len(snapshot.images)
    kept = [row for row in range(count) if data.draw(st.booleans())]
    whole = snapshot.assign(official_is_exam=official)
    rest = snapshot.rows(kept).assign(official_is_exam=official)
    for place, row in enumerate(kept):
        sides = {whole.sides[row], rest.sides[place]}
        if whole.conflicting[row] and not rest.conflicting[place]:
            assert whole.sides[row] == Side.REJECTED  # one exception: its contradiction went
        elif len(sides) > 1:
            # The other: its question was asked by a row that went (or contradicts no more).
            assert sides == {Side.EXAM, Side.SET_ASIDE}
            image = snapshot.images[row]
            assert asked(snapshot, whole)[image] == 1
            assert asked(snapshot.rows(kept), rest)[image] == 1


# --- what each side is ---


@steady
@given(snapshots(), st.booleans())
def test_every_row_has_exactly_one_side(snapshot: Snapshot, official: bool) -> None:
    found = snapshot.assign(official_is_exam=official)
    assert len(found.sides) == len(snapshot.images)
    assert set(found.sides.tolist()) <= {int(side) for side in Side}
    assert sum(int((found.sides == side).sum()) for side in Side) == len(snapshot.images)
    rejected = found.sides == Side.REJECTED
    assert np.array_equal(rejected, found.conflicting | found.exam_overlap)
    assert not (found.conflicting & found.exam_overlap).any()  # one reason a row


@steady
@given(snapshots(), st.booleans())
def test_an_exam_question_never_trains(snapshot: Snapshot, official: bool) -> None:
    found = snapshot.assign(official_is_exam=official)
    for row, image in enumerate(snapshot.images):
        if image in snapshot.exam:
            assert found.sides[row] not in (Side.TRAIN, Side.VALIDATION)
            if snapshot.parts[row] == "new":
                assert found.sides[row] == Side.REJECTED
            assert found.exam_overlap[row] == (snapshot.parts[row] == "new")


@steady
@given(snapshots(), st.booleans())
@example(Snapshot([5, 5, 5], [0, 1, 0], ["exam", "exam", "origin"], [5]), True)
def test_each_question_is_asked_once_by_the_first_who_has_it(
    snapshot: Snapshot, official: bool
) -> None:
    found = snapshot.assign(official_is_exam=official)
    seen = set()
    for row, image in enumerate(snapshot.images):
        if snapshot.is_question(row, official_is_exam=official):
            assert found.sides[row] == (Side.SET_ASIDE if image in seen else Side.EXAM)
            seen.add(image)
        else:
            assert found.sides[row] != Side.EXAM


@steady
@given(snapshots(), st.booleans())
def test_without_judging_exam_rows_are_set_aside_and_nothing_else_changes(
    snapshot: Snapshot, official: bool
) -> None:
    judged = snapshot.assign(official_is_exam=official)
    found = snapshot.assign(official_is_exam=official, judged=False)
    expected = np.where(judged.sides == Side.EXAM, Side.SET_ASIDE, judged.sides)
    assert np.array_equal(found.sides, expected)
    assert np.array_equal(found.conflicting, judged.conflicting)
    assert np.array_equal(found.exam_overlap, judged.exam_overlap)


@steady
@given(snapshots(), st.booleans())
def test_official_rows_are_the_exam_or_nothing(snapshot: Snapshot, official: bool) -> None:
    found = snapshot.assign(official_is_exam=official)
    for row, part in enumerate(snapshot.parts):
        question = snapshot.is_question(row, official_is_exam=official)
        if part != "exam":
            assert question or found.sides[row] != Side.SET_ASIDE
        elif not official:
            assert found.sides[row] == Side.SET_ASIDE
        else:
            assert question == (found.sides[row] in (Side.EXAM, Side.SET_ASIDE))
            assert question == (found.sides[row] != Side.REJECTED)


@steady
@given(snapshots(), st.booleans())
def test_a_contradiction_rejects_all_its_members(snapshot: Snapshot, official: bool) -> None:
    found = snapshot.assign(official_is_exam=official)
    for row, image in enumerate(snapshot.images):
        judged = official if snapshot.parts[row] == "exam" else image not in snapshot.exam
        assert found.conflicting[row] == (judged and snapshot.conflicts(row))


@steady
@given(snapshots())
def test_validation_rows_are_those_whose_digest_says_so(snapshot: Snapshot) -> None:
    found = snapshot.assign(official_is_exam=True, validation_fraction=0.3)
    learning = np.isin(found.sides, [Side.TRAIN, Side.VALIDATION])
    says_so = share_of(digests_of(snapshot.images), 1) < 0.3
    assert np.array_equal(found.sides == Side.VALIDATION, learning & says_so)


def test_without_a_validation_share_everything_trains() -> None:
    snapshot = Snapshot(list(range(50)), [0] * 50, ["new"] * 50, [])
    found = snapshot.assign(official_is_exam=True, validation_fraction=0.0)
    assert (found.sides == Side.TRAIN).all()


@pytest.mark.parametrize("official", [True, False])
def test_a_snapshot_without_rows_has_no_sides(official: bool) -> None:
    found = Snapshot([], [], [], [1, 2]).assign(official_is_exam=official)
    assert found.sides.shape == found.conflicting.shape == found.exam_overlap.shape == (0,)


# --- the numbers underneath ---


@steady
@given(st.lists(st.integers(0, 5), max_size=20), st.data())
def test_groups_conflicts_and_membership_are_what_a_dictionary_says(ids: list[int], data) -> None:
    labels = [data.draw(st.integers(0, 2)) for _ in ids]
    others = data.draw(st.lists(st.integers(0, 9), max_size=6))
    numbers, order, groups = group(digests_of(ids))
    assert groups == len(set(ids))
    assert sorted(order.tolist()) == list(range(len(ids)))
    assert (np.diff(numbers[order]) >= 0).all()
    assert all(
        (numbers[a] == numbers[b]) == (ids[a] == ids[b])
        for a in range(len(ids))
        for b in range(len(ids))
    )
    answers = defaultdict(set)
    for image, label in zip(ids, labels, strict=True):
        answers[image].add(label)
    expected = [len(answers[image]) > 1 for image in ids]
    assert conflicting(digests_of(ids), np.array(labels, np.uint8)).tolist() == expected
    assert contained(digests_of(ids), digests_of(others)).tolist() == [i in others for i in ids]


@pytest.mark.parametrize("byte", range(16))
def test_digests_that_differ_in_one_byte_are_two_groups(byte: int) -> None:
    digests = np.zeros((3, 16), np.uint8)
    digests[1, byte] = 1
    assert group(digests)[2] == 2
    assert contained(digests[1:2], digests[::2]).tolist() == [False]


@pytest.mark.parametrize("half", [0, 1])
def test_shares_lie_in_the_half_open_interval(half: int) -> None:
    digests = np.array([[0] * 16, [255] * 16], np.uint8)
    lowest, highest = share_of(digests, half)
    assert lowest == 0.0
    assert 1 - 1e-15 < highest < 1.0


def test_shares_are_uniform_and_their_halves_independent() -> None:
    count = 40_000
    digests = digests_of(list(range(count)))
    exam, validation = share_of(digests, 0), share_of(digests, 1)
    for share in (exam, validation):
        tenths = np.histogram(share, bins=10, range=(0, 1))[0]
        # Each is binomial(count, 0.1), σ = 60; 6 σ in any of twenty happens once in 2·10⁷.
        assert np.abs(tenths - count / 10).max() < 6 * np.sqrt(count * 0.09)
    # If both went by the same bits, no exam candidate would be left for validation.
    both = int(((exam < 0.15) & (validation < 0.1)).sum())
    assert abs(both - 600) < 6 * np.sqrt(600)
    assert abs(np.corrcoef(exam, validation)[0, 1]) < 6 / np.sqrt(count)


@pytest.mark.parametrize("half", [0, 1])
def test_digests_that_share_one_half_are_told_apart_by_the_other(half: int) -> None:
    numbers = np.tile(np.arange(7, dtype=np.uint64), 40)
    words = np.zeros((280, 2), np.uint64)
    words[:, half] = numbers
    ids, order, groups = group(words.view(np.uint8).reshape(280, 16))
    assert groups == 7
    assert (ids == numbers.astype(np.int64)).all()
    assert (np.diff(ids[order]) >= 0).all()
