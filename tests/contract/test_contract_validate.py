"""Judging: masks and pandera agree on every row, and nothing is lost between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract import schema, validate
from mnist_pipeline.contract.records import NO_LABEL, Records
from mnist_pipeline.contract.schema import rejected_by_schema
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.contract.validate import Judge, reasons_for
from mnist_pipeline.errors import IntegrityError

steady = settings(deadline=None, derandomize=True, database=None)


CONTRACT = ImageContract(2, 2)
labels_from_afar = st.lists(st.integers(-5, 15), max_size=12)


def records(
    labels: Sequence[int] | None, width: int = 4, count: int = 0, first: int = 0
) -> Records:
    count = count if labels is None else len(labels)
    images = np.arange(count * width, dtype=np.uint8).reshape(count, width)
    given = None if labels is None else np.array(labels, np.int64)
    return Records(images, given, np.arange(first, first + count), "a.csv")


blocks_of_a_stream = st.lists(
    st.tuples(labels_from_afar, st.sampled_from([4, 4, 4, 3, 5])), max_size=4
)


@steady
@given(blocks_of_a_stream)
def test_masks_and_pandera_agree_and_every_row_is_counted(
    blocks: list[tuple[list[int], int]],
) -> None:
    judge = Judge(CONTRACT)
    rows = accepted_rows = 0
    rejects = []
    for labels, width in blocks:
        block = records(labels, width, first=rows)
        accepted, turned_away = judge.judge(block)
        assert accepted.dtype == np.bool_
        assert accepted.tolist() == [0 <= label <= 9 and width == 4 for label in labels]
        rows += len(labels)
        accepted_rows += int(accepted.sum())
        rejects += turned_away
    judge.finish()  # raises if pandera disagrees about a single row
    assert judge.judged == rows == accepted_rows + len(rejects)
    assert len({reject.place for reject in rejects}) == len(rejects)


@pytest.mark.parametrize(
    ("labels", "width", "reason", "detail"),
    [
        ([NO_LABEL], 4, "label_missing", "no label"),
        ([10], 4, "label_out_of_range", "label 10, expected 0 to 9"),
        ([-2], 4, "label_out_of_range", "label -2, expected 0 to 9"),
        ([3], 5, "image_wrong_size", "5 pixels, expected 4"),
        ([NO_LABEL], 3, "image_wrong_size", "3 pixels, expected 4"),
    ],
)
def test_a_rejected_row_says_where_why_and_what(
    labels: list[int], width: int, reason: str, detail: str
) -> None:
    _, (reject,) = Judge(CONTRACT).judge(records(labels, width, first=41))
    assert (reject.source, reject.place) == ("a.csv", 41)
    assert (reject.reason, reject.detail) == (reason, detail)
    assert reject.payload == bytes(range(width))


def test_unlabelled_rows_need_no_label() -> None:
    judge = Judge(CONTRACT)
    accepted, rejects = judge.judge(records(None, count=3))
    judge.finish()
    assert accepted.all()
    assert rejects == []
    assert "label_missing" not in reasons_for(records(None, count=3), CONTRACT)


@steady
@given(labels_from_afar)
def test_no_row_has_two_reasons_about_its_label(labels: list[int]) -> None:
    masks = reasons_for(records(labels), CONTRACT)
    assert not (masks["label_missing"] & masks["label_out_of_range"]).any()


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the frames that are put before pandera, as they are."""
    sizes: list[int] = []

    def counted(facts: pl.DataFrame, contract: ImageContract) -> np.ndarray:
        sizes.append(len(facts))
        return rejected_by_schema(facts, contract)

    monkeypatch.setattr(validate, "rejected_by_schema", counted)
    return sizes


def test_rows_are_put_before_pandera_in_large_frames(
    frames: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "FRAME_ROWS", 10)
    judge = Judge(CONTRACT)
    for count in (4, 4, 4, 25, 3, 0):
        judge.judge(records([1] * count))
    assert frames == [12, 25]  # memory stays bounded
    judge.finish()
    assert frames == [12, 25, 3]
    assert judge.judged == 40


def test_a_stream_that_ends_on_a_full_frame_is_not_judged_twice(
    frames: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "FRAME_ROWS", 3)
    judge = Judge(CONTRACT)
    judge.judge(records([1, 2, 3]))
    judge.finish()
    assert frames == [3]


@pytest.mark.parametrize("blocks", [[], [[]], [[], []]])
def test_canaries_fly_over_an_empty_stream_too(
    monkeypatch: pytest.MonkeyPatch, blocks: list[list[int]]
) -> None:
    def powerless(contract: ImageContract, *, labelled: bool) -> pa.DataFrameSchema:
        names = ["label"] * labelled + ["image_bytes", "place"]
        return pa.DataFrameSchema({name: pa.Column(pl.Int64, nullable=True) for name in names})

    def stream() -> Judge:
        judge = Judge(CONTRACT)
        for block in blocks:
            accepted, rejects = judge.judge(records(block))
            assert (len(accepted), rejects) == (0, [])
        return judge

    stream().finish()
    monkeypatch.setattr(schema, "facts_schema", powerless)
    with pytest.raises(IntegrityError, match="let a row pass"):
        stream().finish()


def test_a_row_that_only_pandera_rejects_stops_everything() -> None:
    judge = Judge(CONTRACT)
    block = records([1, 2, 3])
    block.places[1] = -1  # no source may say so, and the masks do not look at it
    accepted, _ = judge.judge(block)
    assert accepted.all()
    with pytest.raises(IntegrityError, match="disagree") as caught:
        judge.finish()
    assert caught.value.facts["rows"] == 1
    assert caught.value.facts["rejected_by"] == "the schema check"
    assert caught.value.facts["first"] == {"label": 2, "image_bytes": 4, "place": -1}


@pytest.mark.parametrize("forgotten", ["label_missing", "label_out_of_range", "image_wrong_size"])
def test_a_reason_that_the_masks_forget_is_noticed(
    monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    def forgetful(block: Records, contract: ImageContract) -> dict[str, np.ndarray]:
        masks = reasons_for(block, contract)
        del masks[forgotten]
        return masks

    monkeypatch.setattr(validate, "reasons_for", forgetful)
    bad = {
        "label_missing": records([1, NO_LABEL]),
        "label_out_of_range": records([1, 10]),
        "image_wrong_size": records([1], width=3),
    }
    judge = Judge(CONTRACT)
    judge.judge(bad[forgotten])
    with pytest.raises(IntegrityError, match="disagree"):
        judge.finish()


def test_a_row_that_only_the_masks_reject_stops_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def strict(block: Records, contract: ImageContract) -> dict[str, np.ndarray]:
        return {"label_out_of_range": block.labels == 7}

    monkeypatch.setattr(validate, "reasons_for", strict)
    judge = Judge(CONTRACT)
    judge.judge(records([6, 7]))
    with pytest.raises(IntegrityError, match="disagree") as caught:
        judge.finish()
    assert caught.value.facts["rejected_by"] == "the row checks"
