"""The quarantine keeps every rejected row, and the budget says how many are too many."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract.quarantine import (
    PLACES_SHOWN,
    QUARANTINE_SCHEMA,
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
