"""Facts: digests that depend on an image's bytes alone, and labels that may be missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnist_pipeline.contract.facts import DIGEST_BYTES, facts_frame, row_digests
from mnist_pipeline.contract.records import NO_LABEL, Records

steady = settings(deadline=None, derandomize=True, database=None)


images_of_5 = st.integers(0, 6).flatmap(lambda n: arrays(np.uint8, (n, 5)))


@steady
@given(images_of_5)
def test_a_digest_is_xxh3_of_the_row(images: np.ndarray) -> None:
    expected = [xxhash.xxh3_128(bytes(row)).digest() for row in images]
    found = row_digests(images)
    assert found.shape == (len(images), DIGEST_BYTES)
    assert found.dtype == np.uint8
    assert [bytes(row) for row in found] == expected


@steady
@given(images_of_5, st.data())
def test_a_digest_does_not_depend_on_neighbours_or_layout(images: np.ndarray, data) -> None:
    order = data.draw(st.permutations(range(len(images))))
    whole = row_digests(images)
    assert np.array_equal(row_digests(images[order]), whole[order])
    assert np.array_equal(row_digests(np.asfortranarray(images)), whole)
    assert np.array_equal(row_digests(np.repeat(images, 2, axis=0)[::2]), whole)
    assert np.array_equal(row_digests(np.repeat(images, 2, axis=1)[:, ::2]), whole)


def test_one_pixel_changes_the_digest() -> None:
    images = np.zeros((785, 784), np.uint8)
    images[np.arange(784), np.arange(784)] = 1
    assert len({bytes(row) for row in row_digests(images)}) == 785


def test_the_digest_of_a_black_image_never_changes() -> None:
    # Splits go by it: with another hash, rows would change sides in every workspace there is.
    digest = bytes(row_digests(np.zeros((1, 784), np.uint8))[0]).hex()
    assert digest == "1fe806f032eaa47ed87960e3a993ebe2"


@pytest.mark.parametrize("width", [784, 783])
def test_no_rows_have_no_digests(width: int) -> None:
    # What is left of a block of which every row was rejected.
    assert row_digests(np.zeros((0, width), np.uint8)).shape == (0, DIGEST_BYTES)


def records(labels: list[int] | None, width: int = 4) -> Records:
    count = 3 if labels is None else len(labels)
    given = None if labels is None else np.array(labels, np.int64)
    return Records(np.zeros((count, width), np.uint8), given, np.arange(count) + 2, "a.csv")


@pytest.mark.parametrize("labels", [[3, NO_LABEL, 0], [-5, NO_LABEL, 9], [NO_LABEL], [1, 2], []])
def test_a_missing_label_is_null_and_no_other_is(labels: list[int]) -> None:
    facts = facts_frame(records(labels))
    assert facts["label"].to_list() == [None if label == NO_LABEL else label for label in labels]
    assert facts["label"].dtype == pl.Int64


def test_facts_are_one_narrow_row_a_record() -> None:
    facts = facts_frame(records([7, 8], width=5))
    assert facts.to_dicts() == [
        {"label": 7, "image_bytes": 5, "place": 2},
        {"label": 8, "image_bytes": 5, "place": 3},
    ]


def test_unlabelled_records_have_no_label_column() -> None:
    assert facts_frame(records(None)).columns == ["image_bytes", "place"]
