"""The split: the same answer in whatever order, and no row ever changes sides."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.data.split import (
    Assignment,
    Side,
    assign,
    conflicting,
    contained,
    group,
    official_exam,
    share_exam,
    share_of,
)

steady = settings(deadline=None, derandomize=True, database=None)


def digests_of(ids: list[int]) -> np.ndarray:
    """(N, 16): equal ids give equal digests."""
    return row_digests(np.array(ids, "<u4").view(np.uint8).reshape(len(ids), 4))


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Rows as the split sees them: which image (by id), which label, from which kind of part."""

    images: list[int]
    labels: list[int]
    parts: list[str]  # "exam": official test part; "origin": the exam was cut here; "new": later
    exam: list[int]

    def rows(self, which: list[int]) -> Snapshot:
        columns = (self.images, self.labels, self.parts)
        images, labels, parts = ([column[row] for row in which] for column in columns)
        return Snapshot(images, labels, parts, self.exam)

    def assign(self, *, official_is_exam: bool, validation_fraction: float = 0.3) -> Assignment:
        return assign(
            digests_of(self.images),
            np.array(self.labels, np.uint8),
            official=np.array([part == "exam" for part in self.parts], np.bool_),
            official_is_exam=official_is_exam,
            origin=np.array([part == "origin" for part in self.parts], np.bool_),
            exam_digests=digests_of(self.exam),
            validation_fraction=validation_fraction,
        )

    def conflicts(self, row: int) -> bool:
        """Whether another row of the same standing has the same image and another label."""

        def standing(other: int) -> str:
            return "exam" if self.parts[other] == "exam" else "learn"

        return any(
            self.images[other] == self.images[row]
            and self.labels[other] != self.labels[row]
            and standing(other) == standing(row)
            for other in range(len(self.images))
        )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 9),  # few images, so that many occur twice
                st.integers(0, 2),
                st.sampled_from(["exam", "origin", "new", "new"]),
            ),
            max_size=25,
        )
    )
    exam = draw(st.lists(st.integers(0, 9), max_size=4))
    images, labels, parts = ([row[column] for row in rows] for column in range(3))
    return Snapshot(images, labels, parts, exam)


def same(one: Assignment, other: Assignment, rows: list[int] | slice) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)[rows])
        for name in ("sides", "conflicting", "exam_overlap")
    )


# --- order, growth, shrinkage ---


@steady
@given(snapshots(), st.booleans(), st.data())
def test_the_order_of_rows_does_not_matter(snapshot: Snapshot, official: bool, data) -> None:
    order = data.draw(st.permutations(range(len(snapshot.images))))
    whole = snapshot.assign(official_is_exam=official)
    turned = snapshot.rows(order).assign(official_is_exam=official)
    assert same(turned, whole, list(order))


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
        if whole.sides[row] != rest.sides[place]:
            # The one exception: its contradiction came or went.
            assert whole.conflicting[row]
            assert whole.sides[row] == Side.REJECTED
            assert not rest.conflicting[place]


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
            expected = {"new": Side.REJECTED, "origin": Side.EXAM}
            if snapshot.parts[row] != "exam":
                assert found.sides[row] == expected[snapshot.parts[row]]
                assert found.exam_overlap[row] == (snapshot.parts[row] == "new")


@steady
@given(snapshots(), st.booleans())
def test_official_rows_are_the_exam_or_nothing(snapshot: Snapshot, official: bool) -> None:
    found = snapshot.assign(official_is_exam=official)
    for row, part in enumerate(snapshot.parts):
        if part != "exam":
            assert found.sides[row] != Side.SET_ASIDE
        elif not official:
            assert found.sides[row] == Side.SET_ASIDE
        else:
            assert found.sides[row] == (Side.REJECTED if snapshot.conflicts(row) else Side.EXAM)


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


# --- cutting the exam ---


@steady
@given(snapshots())
def test_an_official_exam_is_cut_and_assigned_alike(snapshot: Snapshot) -> None:
    digests, labels = digests_of(snapshot.images), np.array(snapshot.labels, np.uint8)
    official = np.array([part == "exam" for part in snapshot.parts], np.bool_)
    chosen = official_exam(digests, labels, official)
    for row, part in enumerate(snapshot.parts):
        assert chosen[row] == (part == "exam" and not snapshot.conflicts(row))
    questions = [image for image, is_in in zip(snapshot.images, chosen, strict=True) if is_in]
    found = dataclasses.replace(snapshot, exam=questions).assign(official_is_exam=True)
    assert np.array_equal((found.sides == Side.EXAM) & official, chosen)


@steady
@given(snapshots(), st.floats(0, 1, exclude_max=True))
def test_a_share_exam_is_cut_and_assigned_alike(snapshot: Snapshot, fraction: float) -> None:
    digests, labels = digests_of(snapshot.images), np.array(snapshot.labels, np.uint8)
    official = np.array([part == "exam" for part in snapshot.parts], np.bool_)
    chosen = share_exam(digests, labels, official, fraction)
    share = share_of(digests, 0)
    for row, part in enumerate(snapshot.parts):
        clean = part != "exam" and not snapshot.conflicts(row)
        assert chosen[row] == (clean and share[row] < fraction)
    # At the first training all learnable parts are its origin; no question is an overlap then.
    parts = [part if part == "exam" else "origin" for part in snapshot.parts]
    questions = [image for image, is_in in zip(snapshot.images, chosen, strict=True) if is_in]
    first = Snapshot(snapshot.images, snapshot.labels, parts, questions)
    found = first.assign(official_is_exam=False)
    assert np.array_equal(found.sides == Side.EXAM, chosen)
    assert not found.exam_overlap.any()


@steady
@given(st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_larger_share_contains_the_smaller(one: float, other: float) -> None:
    ids = list(range(300))
    smaller, larger = (
        share_exam(digests_of(ids), np.zeros(300, np.uint8), np.zeros(300, np.bool_), fraction)
        for fraction in sorted((one, other))
    )
    assert not (smaller & ~larger).any()


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
