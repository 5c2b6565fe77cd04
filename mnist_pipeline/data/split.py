"""Which row goes where: decided by the digest of its image, so a row never changes sides.

All functions look at digests and labels only, over the whole snapshot, and give the same answer in
whatever order the rows come.
"""

from __future__ import annotations

import dataclasses
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint8]
"""(N, 16) uint8, see `contract.facts.row_digests`."""


class Side(IntEnum):
    """What a row is used for."""

    TRAIN = 0
    VALIDATION = 1
    EXAM = 2
    REJECTED = 3
    SET_ASIDE = 4
    """Used for nothing: test rows that are not this model's exam, or a question asked twice."""


@dataclasses.dataclass(frozen=True)
class Assignment:
    """The side of every row of a snapshot.

    Attributes:
        sides: (N,) uint8, values of `Side`.
        conflicting: (N,) bool, rejected because the same image has two labels.
        exam_overlap: (N,) bool, rejected because the image is an exam question.
    """

    sides: NDArray[np.uint8]
    conflicting: NDArray[np.bool_]
    exam_overlap: NDArray[np.bool_]


def share_of(digests: Digests, half: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each row: half 0 of its digest decides the exam, half 1 validation."""
    words = np.ascontiguousarray(digests).view("<u8").reshape(-1, 2)
    # 53 bits, the most that a float64 holds exactly: never rounds up to 1.
    return (words[:, half] >> np.uint64(11)).astype(np.float64) * 2.0**-53


def group(digests: Digests) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rows with equal digests get equal numbers.

    Returns:
        ids (N,), the order (N,) that sorts rows by id, and the number of groups.
    """
    first, second = np.ascontiguousarray(digests).view("<u8").reshape(-1, 2).T.copy()
    # One half is enough to sort by, at a fifth of the cost, unless it is equal where the other is
    # not: among a million images that happens once in 30 million times.
    order = np.argsort(first)
    alike, same = _like_the_one_before(first[order]), _like_the_one_before(second[order])
    if (alike & ~same).any():
        order = np.lexsort((second, first))
        alike, same = _like_the_one_before(first[order]), _like_the_one_before(second[order])
    new = ~(alike & same)
    ids = np.empty(len(first), np.int64)
    ids[order] = np.cumsum(new) - 1
    return ids, order, int(new.sum())


def _like_the_one_before(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of (N,) values equal the one before them: (N,) bool."""
    like = np.zeros(len(values), np.bool_)
    like[1:] = values[1:] == values[:-1]
    return like


def conflicting(digests: Digests, labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Rows whose image occurs with more than one label, all members of each such group: (N,)."""
    ids, _, groups = group(digests)
    return _with_two_labels(ids, labels, groups)


def _with_two_labels(
    ids: NDArray[np.int64], labels: NDArray[np.uint8], groups: int
) -> NDArray[np.bool_]:
    """Rows in whose group, by (N,) ids, there is more than one label: (N,) bool."""
    lowest, highest = np.full(groups, 255, np.uint8), np.zeros(groups, np.uint8)
    np.minimum.at(lowest, ids, labels)
    np.maximum.at(highest, ids, labels)
    return np.asarray((lowest != highest)[ids], np.bool_)


def contained(digests: Digests, others: Digests) -> NDArray[np.bool_]:
    """Which of `digests` occur among `others`: (N,) bool."""
    ids, _, groups = group(np.concatenate([digests, others]))
    known = np.zeros(groups, np.bool_)
    known[ids[len(digests) :]] = True
    return known[ids[: len(digests)]]


def official_exam(
    digests: Digests, labels: NDArray[np.uint8], official: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """The rows of a source's own test part, each image once, without conflicts: (N,) bool."""
    chosen = official.copy()
    chosen[official] = ~conflicting(digests[official], labels[official])
    return _once(digests, chosen)


def share_exam(
    digests: Digests, labels: NDArray[np.uint8], official: NDArray[np.bool_], fraction: float
) -> NDArray[np.bool_]:
    """The rows whose digest falls into the exam share, each image once: (N,) bool."""
    chosen = ~official & (share_of(digests, 0) < fraction)
    chosen[~official] &= ~conflicting(digests[~official], labels[~official])
    return _once(digests, chosen)


def _once(digests: Digests, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of chosen rows with the same image only the first: asked twice, a question counts double."""
    rows = np.flatnonzero(chosen)
    ids, _, _ = group(digests[rows])
    _, first = np.unique(ids, return_index=True)
    once = np.zeros(len(digests), np.bool_)
    once[rows[first]] = True
    return once


def assign(
    digests: Digests,
    labels: NDArray[np.uint8],
    *,
    official: NDArray[np.bool_],
    official_is_exam: bool,
    origin: NDArray[np.bool_],
    exam_digests: Digests,
    validation_fraction: float,
    judged: bool = True,
) -> Assignment:
    """The side of every row, given the exam.

    Args:
        digests: (N, 16) uint8.
        labels: (N,) uint8.
        official: (N,) bool, rows of a source's own test part.
        official_is_exam: whether those rows are this model's exam.
        origin: (N,) bool, rows of the parts from which the exam was cut: there, an exam row is
            where it belongs; anywhere else it is an overlap.
        exam_digests: (E, 16) uint8.
        validation_fraction: the share of training rows kept for validation.
        judged: whether the exam is used; if not, its rows are set aside.
    """
    learnable = ~official
    ids, _, groups = group(np.concatenate([digests, exam_digests]))
    ids, asked = ids[: len(digests)], ids[len(digests) :]
    in_exam = np.bincount(asked, minlength=groups).astype(np.bool_)[ids]
    overlap = learnable & in_exam & ~origin
    own = learnable & in_exam & origin
    conflict = np.zeros(len(digests), np.bool_)
    open_rows = learnable & ~in_exam
    conflict[open_rows] = _with_two_labels(ids[open_rows], labels[open_rows], groups)
    if official_is_exam:
        conflict[official] = _with_two_labels(ids[official], labels[official], groups)
        own |= official & ~conflict

    sides = np.full(len(digests), Side.TRAIN, np.uint8)
    sides[share_of(digests, 1) < validation_fraction] = Side.VALIDATION
    sides[official | own] = Side.SET_ASIDE
    if judged:
        sides[_once(digests, own)] = Side.EXAM
    sides[overlap | conflict] = Side.REJECTED
    return Assignment(sides, conflict, overlap)
