"""The quarantine keeps every rejected row, and the budget says how many are too many."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract import quarantine
from mnist_pipeline.contract.quarantine import (
    PLACES_SHOWN,
    QUARANTINE_SCHEMA,
    QuarantineWriter,
    Sink,
    Tally,
    check_budget,
    count_reasons,
    places_of,
    quarantine_table,
    rejects_from,
)
from mnist_pipeline.contract.records import REASONS, Reject
from mnist_pipeline.errors import DataError

steady = settings(deadline=None, derandomize=True, database=None)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rejects = st.lists(
    st.builds(
        Reject,
        words,
        st.integers(0, 2**62),
        st.sampled_from(sorted(REASONS)),
        words,
        st.binary(max_size=8),
    ),
    max_size=30,
)


@steady
@given(rejects)
def test_rows_come_back_from_the_quarantine_as_they_went_in(rows: list[Reject]) -> None:
    table = quarantine_table(rows)
    assert table.schema.equals(QUARANTINE_SCHEMA)
    assert rejects_from(table) == rows


def test_the_quarantine_survives_a_file(tmp_path) -> None:
    rows = [
        Reject("é.csv", 3, "label_missing", "no label", bytes(range(256))),
        Reject("b", 0, "x", ""),
    ]
    pq.write_table(quarantine_table(rows), tmp_path / "q.parquet")
    assert rejects_from(pq.read_table(tmp_path / "q.parquet")) == rows


@steady
@given(rejects)
def test_counts_add_up(rows: list[Reject]) -> None:
    counts = count_reasons(rows)
    assert counts == dict(Counter(reject.reason for reject in rows))
    assert list(counts) == sorted(counts)
    assert sum(counts.values()) == len(rows)


@steady
@given(rejects)
def test_the_first_places_are_shown_in_order_and_without_payload(rows: list[Reject]) -> None:
    shown = places_of(rows)
    assert len(shown) == min(len(rows), PLACES_SHOWN)
    for place, reject in zip(shown, rows, strict=False):
        assert place == {
            "source": reject.source,
            "place": reject.place,
            "reason": reject.reason,
            "detail": reject.detail,
        }


@settings(steady, max_examples=50)
@given(st.lists(rejects, max_size=5), st.integers(0, 40))
def test_a_tally_of_blocks_is_that_of_all(blocks: list[list[Reject]], most: int) -> None:
    rows = [reject for block in blocks for reject in block]
    faults = [reject for reject in rows if reject.reason != "exam_overlap"]
    tally, added = Tally(most), Tally(most)
    for block in blocks:
        tally.extend(block)
        own = Tally(most)
        own.extend(block)
        added.add(own)
    for found in tally, added:
        assert found.total == len(rows)
        assert found.rejected == count_reasons(rows)
        assert found.places == places_of(rows, most)
        assert found.faults == count_reasons(faults)
        assert found.fault_places == places_of(faults, most)


def test_exam_questions_are_no_fault_and_hide_none() -> None:
    tally = Tally(3)
    tally.extend([Reject("a", row, "exam_overlap", "") for row in range(1000)])
    tally.extend([Reject("a", 1000, "label_missing", "no label")])
    assert {place["reason"] for place in tally.places} == {"exam_overlap"}
    assert tally.faults == {"label_missing": 1}
    assert [place["place"] for place in tally.fault_places] == [1000]


@settings(steady, max_examples=30)
@given(st.lists(rejects, max_size=5), st.sampled_from([1, 7, 1000]))
def test_blocks_are_written_as_they_come(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[Reject]], group: int
) -> None:
    path = tmp_path_factory.mktemp("quarantine") / "rejected.parquet"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(quarantine, "_GROUP_ROWS", group)
        with QuarantineWriter(path) as writer:
            for block in blocks:
                writer.extend(block)
    rows = [reject for block in blocks for reject in block]
    assert writer.tally.total == len(rows)
    assert path.exists() == bool(rows)  # none, no file
    if rows:
        assert pq.read_schema(path).equals(QUARANTINE_SCHEMA)
        assert rejects_from(pq.read_table(path)) == rows


def test_many_rejects_never_stand_in_memory_together(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with QuarantineWriter(tmp_path / "rejected.parquet") as writer:
            for first in range(0, 40_000, 100):
                places = range(first, first + 100)
                writer.extend([Reject("a", row, "x", f"{row}", bytes(1000)) for row in places])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pq.read_metadata(tmp_path / "rejected.parquet").num_rows == 40_000
    assert peak < 20_000_000  # of 40 MB


def test_a_list_may_take_the_place_of_a_writer() -> None:
    def fill(sink: Sink, rows: Sequence[Reject]) -> None:
        sink.extend(rows)

    taken: list[Reject] = []
    fill(taken, (Reject("a", 1, "x", ""),))
    assert len(taken) == 1


@steady
@given(
    rows=st.integers(1, 10_000),
    parts=st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)),
    limit=st.sampled_from(["0", "0.01", "0.1", "0.3", "1"]),
)
def test_the_budget_is_exact_at_its_edge(rows: int, parts: tuple[int, int], limit: str) -> None:
    rejected = {"label_missing": min(parts[0], rows)}
    rejected["image_missing"] = min(parts[1], rows - rejected["label_missing"])
    over = Fraction(sum(rejected.values()), rows) > Fraction(limit)
    try:
        check_budget("a.csv", rows, rejected, float(limit), [])
        refused = False
    except DataError:
        refused = True
    assert refused == over


@pytest.mark.parametrize("rows", [100, 300, 700, 1_000, 4_900])
def test_exactly_one_percent_is_allowed_and_one_row_more_is_not(rows: int) -> None:
    check_budget("a.csv", rows, {"label_missing": rows // 100}, 0.01, [])
    with pytest.raises(DataError):
        check_budget("a.csv", rows, {"label_missing": rows // 100 + 1}, 0.01, [])


def test_a_refusal_names_file_counts_and_first_places() -> None:
    rows = [Reject("a.csv", line, "label_missing", "no label") for line in range(2, 40)]
    with pytest.raises(DataError, match=r"38 of 1,000 rows of a\.csv .* 0\.01 allowed") as caught:
        check_budget("a.csv", 1000, count_reasons(rows), 0.01, places_of(rows))
    facts = caught.value.facts
    assert facts["rejected"] == {"label_missing": 38}
    assert facts["first"][0] == "a.csv:2 label_missing (no label)"
    assert len(facts["first"]) == 5
    assert "max_reject_fraction" in caught.value.remedy


def test_a_file_of_which_nothing_is_left_says_so() -> None:
    with pytest.raises(DataError, match=r"all 1,200 rows of a\.csv"):
        check_budget("a.csv", 1200, {"image_missing": 1200}, 0.5, [])


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_a_file_without_rows_is_refused_whatever_the_budget(limit: float) -> None:
    with pytest.raises(DataError, match=r"a\.csv has no rows"):
        check_budget("a.csv", 0, {}, limit, [])
