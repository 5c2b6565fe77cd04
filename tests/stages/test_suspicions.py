"""Suspicions: what speaks against new rows without a look at their pixels."""

from __future__ import annotations

import numpy as np

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.dataset import Index
from mnist_pipeline.data.split import Side
from mnist_pipeline.stages.suspicions import new_rows, suspicions
from mnist_pipeline.stages.validate import PartCounts

LEARNED = [100] * 10


def index_of(*parts: tuple[list[int], list[int]], sides: dict[int, Side] | None = None) -> Index:
    """Parts of rows, each row an image (by number) with a label."""
    images = np.concatenate([np.array(images, "<u8") for images, _ in parts])
    digest = np.stack([images, images], axis=1).view(np.uint8)
    part = np.repeat(np.arange(len(parts)), [len(images) for images, _ in parts])
    side = np.zeros(len(images), np.uint8)
    for row, value in (sides or {}).items():
        side[row] = value
    labels = np.concatenate([labels for _, labels in parts]).astype(np.uint8)
    return Index(part.astype(np.int32), np.arange(len(images)), labels, digest, side)


def reasons(
    index: Index, new: list[int], rejected: dict[int, dict[str, int]] | None = None
) -> list[str]:
    parts = int(index.part.max()) + 1
    counts = [
        PartCounts(
            f"{number}.csv",
            "train",
            int((index.part == number).sum()),
            (rejected or {}).get(number, {}),
        )
        for number in range(parts)
    ]
    return suspicions(
        index,
        new_rows(index, counts, new),
        contract=ImageContract(),
        learned=LEARNED,
        champion="digits@3",
        max_reject_fraction=0.05,
        min_class_share=0.01,
    )


def rows(first: int, count: int, classes: int = 10) -> tuple[list[int], list[int]]:
    return list(range(first, first + count)), [k % classes for k in range(count)]


def test_new_rows_of_all_classes_are_not_suspicious() -> None:
    assert reasons(index_of(rows(0, 300), rows(1000, 300), rows(2000, 300)), [1, 2]) == []


def test_rows_that_are_known_already_are_named_by_file() -> None:
    index = index_of(rows(0, 300), rows(149, 300), rows(1000, 300))
    (reason,) = reasons(index, [1, 2])
    assert reason.startswith("known_rows: of 1.csv 151 of 300 rows are in the data set already")
    assert reasons(index_of(rows(0, 300), rows(150, 300)), [1]) == []  # half of them


def test_rows_of_another_new_file_and_of_the_same_are_known_too() -> None:
    (reason,) = reasons(index_of(rows(0, 300), rows(1000, 300), rows(1100, 300)), [1, 2])
    assert reason.startswith("known_rows: of 2.csv 200 of 300")
    images, labels = rows(1000, 100)
    (reason,) = reasons(index_of(rows(0, 300), (images * 3, labels * 3)), [1])
    assert reason.startswith("known_rows: of 1.csv 200 of 300")


def test_rows_that_were_rejected_are_not_counted_twice() -> None:
    sides = dict.fromkeys(range(300, 600), Side.REJECTED)
    index = index_of(rows(0, 300), rows(0, 300), rows(1000, 300), sides=sides)
    (reason,) = reasons(index, [1, 2], {1: {"conflicting_duplicate": 300}})
    assert reason == (
        "rejects: of 1.csv 300 of 300 rows were rejected (300 conflicting_duplicate), "
        "more than the 0.05 allowed"
    )
    (reason,) = reasons(index, [1, 2], {1: {"exam_overlap": 300}})
    assert reason == "exam_overlap: of 1.csv 300 of 300 rows are questions of the exam"


def test_the_budget_holds_for_all_new_files_together_too() -> None:
    index = index_of(rows(0, 300), rows(1000, 300), rows(2000, 300))
    small = {"label_missing": 15, "exam_overlap": 100}
    assert (
        reasons(index, [1, 2], {1: small, 2: small}) == []
    )  # 5 % of each, the exam's are no fault
    (reason,) = reasons(index, [1, 2], {1: small, 2: {"label_missing": 16}})
    assert reason.startswith("rejects: of 2.csv 16 of 300")


def test_a_class_that_does_not_come_at_all_is_missed() -> None:
    images, labels = rows(1000, 400, classes=9)
    (reason,) = reasons(index_of(rows(0, 300), (images, labels)), [1])
    assert reason == (
        "class_missing: none of 400 new rows (1.csv) shows '9', "
        "but 10.00 % of what digits@3 learned from do"
    )
    few = [9] * 3 + labels[3:]
    (reason,) = reasons(index_of(rows(0, 300), (images, few)), [1])
    assert reason.startswith("class_missing: 3 of 400 new rows")
    assert reasons(index_of(rows(0, 300), (images, [9] * 4 + labels[4:])), [1]) == []  # 1 %


def test_of_few_rows_a_class_may_be_missing_by_chance() -> None:
    assert reasons(index_of(rows(0, 300), rows(1000, 190, classes=9)), [1]) == []
    # Files of one class each are whole together.
    classes = [([2000 + 100 * k + i for i in range(50)], [k] * 50) for k in range(10)]
    assert reasons(index_of(rows(0, 300), *classes), list(range(1, 11))) == []
