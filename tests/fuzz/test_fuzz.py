"""A few hundred mutated files of each format; tests/benchmarks/bench_fuzz.py does ten thousand."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import thrift
from examine import examine
from mutations import FORMATS, case
from runner import Worker, run, working

SEEDS = range(300)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with working() as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_mutated_files(worker: Worker, form: str) -> None:
    outcomes = dict(run(worker, form, SEEDS, every=150))
    assert {seed: outcome.faults for seed, outcome in outcomes.items() if outcome.faults} == {}
    verdicts = Counter(outcome.verdict for outcome in outcomes.values())
    # Mutations that all end alike would test nothing.
    assert min(verdicts[verdict] for verdict in ("whole", "with rejects", "refused")) > 20


@pytest.mark.slow
def test_a_process_that_ends_is_told_and_replaced(worker: Worker) -> None:
    assert worker.examine("no such format", 0).faults[0].startswith("crash: exit code 1")
    assert worker.examine("idx", 0).faults == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_handful(form: str, tmp_path: Path) -> None:
    for seed in range(8):
        assert examine(case(form, seed), tmp_path / "case").faults == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_seed_is_a_file(form: str) -> None:
    assert case(form, 5) == case(form, 5) != case(form, 6)


def whole(form: str, folder: Path) -> int:
    """The first seed whose rows are known and all accepted."""
    for seed in range(100):
        made = case(form, seed)
        if made.sure and made.rows and examine(made, folder).verdict == "whole":
            return seed
    raise AssertionError(form)


@pytest.mark.parametrize("form", FORMATS)
def test_faults_are_noticed(form: str, tmp_path: Path) -> None:
    made = case(form, whole(form, tmp_path / "case"))
    assert made.rows is not None
    first = made.rows[0]
    assert first is not None
    for rows, fault in (
        (made.rows[:-1], "miscount"),
        ([*made.rows, first], "miscount"),
        ([first[:-1] + b"\x01", *made.rows[1:]], "content"),
        ([None, *made.rows[1:]], "content"),
        (None, "content"),
    ):
        faults = examine(dataclasses.replace(made, rows=rows), tmp_path / "case").faults
        assert fault in {found.partition(":")[0] for found in faults}
    unreadable = dataclasses.replace(made, files=dict.fromkeys(made.files, b"junk"))
    assert examine(unreadable, tmp_path / "case").faults[0].startswith("content: refused")


def test_a_footer_can_be_taken_apart_and_put_together() -> None:
    file = io.BytesIO()
    table = pa.table({"label": range(24), "image": [[[1, 2]]] * 24})
    pq.write_table(table, file, row_group_size=1, write_page_index=True)
    data = file.getvalue()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    fields, end = thrift.parse(footer)
    assert end == len(footer)
    assert thrift.get(fields, 3) == 24  # num_rows
    assert len(thrift.get(fields, 4)[1]) == 24  # row_groups
    assert thrift.pack(fields) == footer
