"""A series: only ever appended, by whoever saw the latest entry."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.store.objects import ObjectMissingError, Store
from mnist_pipeline.store.series import Entry, Series


@pytest.fixture
def series(store: Store) -> Series:
    return Series(store, "models/digits/channels/champion")


def test_an_empty_series_has_no_latest_entry(series: Series) -> None:
    assert series.latest() is None
    assert series.history() == []
    assert series.sequences() == []


def test_entries_are_numbered_from_one_and_kept_in_order(series: Series) -> None:
    last = None
    for version in (4, 2, 9):
        last = series.append({"version": version}, after=last)
        assert last is not None
        assert series.latest() == last
    assert series.history() == [Entry(n, {"version": v}) for n, v in ((1, 4), (2, 2), (3, 9))]
    assert [info.key.rpartition("/")[2] for info in series.store.list(series.prefix)] == [
        "000001.json",
        "000002.json",
        "000003.json",
    ]


def test_an_append_is_refused_when_somebody_was_there_first(series: Series) -> None:
    first = series.append({"n": 1}, after=None)
    assert series.append({"n": 2}, after=None) is None
    second = series.append({"n": 3}, after=first)
    assert series.append({"n": 4}, after=first) is None
    assert series.append({"n": 5}, after=None) is None
    assert series.latest() == second == Entry(2, {"n": 3})


def test_two_series_do_not_see_each_other(store: Store) -> None:
    one, other = Series(store, "a/b"), Series(store, "a/bc")
    one.append({"n": 1}, after=None)
    assert other.latest() is None
    assert other.append({"n": 2}, after=None) == Entry(1, {"n": 2})


def appended(series: Series, value: dict[str, Any]) -> int:
    """Appends, again and again until it is the one; returns its number."""
    while True:
        entry = series.append(value, after=series.latest())
        if entry:
            return entry.sequence


def test_racing_threads_lose_and_double_no_number(series: Series) -> None:
    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(lambda n: appended(series, {"by": n}), range(24)))
    assert sorted(numbers) == series.sequences() == list(range(1, 25))
    assert [entry.value["by"] for entry in series.history()] == [
        by for _, by in sorted(zip(numbers, range(24), strict=True))
    ]


def test_racing_processes_lose_and_double_no_number(shared_store: Store, race: Any) -> None:
    program = """
series, result = Series(store, "runs"), []
while len(result) < 10:
    entry = series.append({"by": me, "turn": len(result)}, after=series.latest())
    result += [entry.sequence] if entry else []
"""
    imports = "from mnist_pipeline.store.series import Series"
    results = race(shared_store.place, program, imports=imports)
    series = Series(shared_store, "runs")
    assert series.sequences() == sorted(sum(results, [])) == list(range(1, 41))  # noqa: RUF017
    for me, numbers in enumerate(results):
        for turn, number in enumerate(numbers):
            assert series.read(number).value == {"by": me, "turn": turn}


def test_numbers_beyond_six_digits_sort_as_numbers(series: Series) -> None:
    for number in (7, 999_999, 1_000_000, 20):
        series.store.put(f"{series.prefix}/{number:06d}.json", b'{"n": %d}' % number)
    assert series.sequences() == [7, 20, 999_999, 1_000_000]
    latest = series.latest()
    assert latest == Entry(1_000_000, {"n": 1_000_000})
    assert series.append({"n": 0}, after=latest) == Entry(1_000_001, {"n": 0})
    assert series.latest() == Entry(1_000_001, {"n": 0})


def test_what_is_no_entry_is_overlooked(series: Series) -> None:
    entry = series.append({"n": 1}, after=None)
    for name in ("000009", "9.json.bak", "x.json", "-3.json", "²2.json", "000008/x.json", ".json"):
        series.store.put(f"{series.prefix}/{name}", b"{}")
    assert series.sequences() == [1]
    assert series.latest() == entry


@pytest.mark.parametrize(
    "damage", [b"", b'{"n": 1', b"\xff\xfe", b"[]", b"null", b'"x"', b"3", b'[["n", 1]]']
)
def test_a_damaged_entry_is_named(series: Series, damage: bytes) -> None:
    first = series.append({"n": 1}, after=None)
    series.append({"n": 2}, after=first)
    series.store.put(f"{series.prefix}/000002.json", damage)
    for read in (series.latest, series.history, lambda: series.read(2)):
        with pytest.raises(IntegrityError, match="damaged") as caught:
            read()
        assert caught.value.facts["key"] == f"{series.prefix}/000002.json"
    assert series.read(1) == first


@pytest.mark.parametrize(
    ("value", "whole"),
    [(b'{"a": 1, "b": null}', True), (b'{"a": 1, "b": 2, "c": 3}', True), (b'{"a": 1}', False),
     (b'{"b": 2, "c": 3}', False), (b"{}", False), (b'["a", "b"]', False)],
)  # fmt: skip
def test_an_entry_without_a_required_key_is_damaged(
    store: Store, value: bytes, whole: bool
) -> None:
    series = Series(store, "models/digits/runs", ("a", "b"))
    store.put("models/digits/runs/000001.json", value)
    if whole:
        assert series.latest() == Entry(1, json.loads(value))
        return
    for read in (series.latest, series.history, lambda: series.read(1)):
        with pytest.raises(IntegrityError, match="damaged") as caught:
            read()
        assert caught.value.facts["key"] == "models/digits/runs/000001.json"


def test_an_entry_that_is_not_there_is_missing(series: Series) -> None:
    with pytest.raises(ObjectMissingError):
        series.read(1)


def test_entries_can_be_read_by_people(series: Series) -> None:
    series.append({"reason": "größer", "n": 1}, after=None)
    data = series.store.get(f"{series.prefix}/000001.json")
    assert json.loads(data) == {"reason": "größer", "n": 1}
    assert "größer" in data.decode()
    assert data.count(b"\n") > 2
