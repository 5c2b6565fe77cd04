"""Snapshots as the split sees them, for the tests of `split`."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.data.split import Assignment, assign

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

    def assign(
        self, *, official_is_exam: bool, validation_fraction: float = 0.3, judged: bool = True
    ) -> Assignment:
        digests, labels, official = self.arrays
        return assign(
            digests,
            labels,
            official=official,
            official_is_exam=official_is_exam,
            origin=np.array([part == "origin" for part in self.parts], np.bool_),
            exam_digests=digests_of(self.exam),
            validation_fraction=validation_fraction,
            judged=judged,
        )

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Digests (N, 16), labels (N,), and which rows are official (N,)."""
        official = np.array([part == "exam" for part in self.parts], np.bool_)
        return digests_of(self.images), np.array(self.labels, np.uint8), official

    def is_question(self, row: int, *, official_is_exam: bool) -> bool:
        """Whether a row asks what the exam asks, and stands where the exam comes from."""
        if self.parts[row] == "exam":
            return official_is_exam and not self.conflicts(row)
        return self.parts[row] == "origin" and self.images[row] in self.exam

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
