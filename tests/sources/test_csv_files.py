"""CSV files as wholes: columns by name, blocks, blank lines, any size in bounded memory."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from csv_samples import CONTRACT, HEADER, outcomes, read, rows, text, tiny

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.plugins import build
from mnist_pipeline.sources import csv
from mnist_pipeline.sources.csv import Csv, CsvPart


def test_blocks_are_near_the_size_of_a_row_group(tmp_path: Path) -> None:
    table = rows(9_000) % 10
    path = tmp_path / "digits.csv"
    path.write_text(text(table))
    sizes = [len(block) for block in CsvPart(path).read(CONTRACT)]
    assert sum(sizes) == 9_000
    assert all(8192 <= size < 8900 for size in sizes[:-1])


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    table = rows(5)
    order = np.random.default_rng(1).permutation(785)
    lines = text(table[:, order], ",".join(np.array(HEADER.split(","))[order])).splitlines()
    cells = lines[3].split(",")  # of two faults, that of the lower pixel is told, not the first
    low, high = sorted(range(785), key=order.tolist().__getitem__)[500:502]
    cells[low], cells[high] = "low", "high"
    lines[3] = ",".join(cells)
    records = read(tmp_path, "\n".join(lines), CONTRACT)
    np.testing.assert_array_equal(records.images, np.delete(table, 2, axis=0)[:, 1:])
    np.testing.assert_array_equal(records.labels, np.delete(table, 2, axis=0)[:, 0])
    (reject,) = records.rejects
    assert (reject.place, reject.detail) == (4, "column pixel499 is 'low'")


def test_an_unlabelled_file_may_have_labels_or_not(tmp_path: Path) -> None:
    for content in tiny("x,1,2,3", ",4,5,6"), "pixel0,pixel1,pixel2\n1,2,3\n4,5,6\n":
        records = read(tmp_path, content, labelled=False)
        assert records.images.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert records.labels is None
        assert records.rejects == ()


def test_bad_rows_anywhere_in_a_long_file(tmp_path: Path) -> None:
    table = rows(3000)
    lines = text(table).splitlines()
    random = np.random.default_rng(2)
    bad = set(random.choice(np.arange(1, 3001), 40, replace=False).tolist()) | {1, 3000}
    for index in bad:
        lines[index] = lines[index].replace(",", ",x", 1)
    records = read(tmp_path, "\n".join(lines), CONTRACT)
    assert {reject.place for reject in records.rejects} == {index + 1 for index in bad}
    good = np.array(sorted(set(range(1, 3001)) - bad))
    np.testing.assert_array_equal(records.places, good + 1)
    np.testing.assert_array_equal(records.images, table[good - 1, 1:])


@pytest.mark.parametrize("blank", [1, 600, 20_000])
def test_blank_lines_count_unless_the_file_ends_with_them(
    tmp_path: Path, blank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv, "_CHUNK_BYTES", 500)  # so that a run of them covers several
    records = read(tmp_path, tiny("1,2,3,4") + "\n" * blank)
    assert outcomes(records) == [(2, [1, 2, 3, 4])]
    records = read(tmp_path, tiny("1,2,3,4") + "\n" * blank + "5,6,7,8\n\n\n")
    rejected = ("wrong_column_count", "columns: 1, expected: 4", b"")
    assert outcomes(records) == [
        (2, [1, 2, 3, 4]),
        *((place, rejected) for place in range(3, blank + 3)),
        (blank + 3, [5, 6, 7, 8]),
    ]


@pytest.mark.parametrize("cell", ["7", "x"], ids=["clean", "every row bad"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "digits.csv"
    line = (",".join([cell] * 785) + "\n").encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(HEADER.encode() + b"\n")
        for _ in range(30):
            file.write(line * 500)
    tracemalloc.start()
    try:
        blocks = CsvPart(path).read(CONTRACT)
        total = sum(len(block) + len(block.rejects) for block in blocks)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 15_000  # 24 MB of text
    assert peak < 21_000_000


def test_a_pattern_names_several_files_each_a_part_of_its_own(tmp_path: Path) -> None:
    for name, content in ("a.csv", "x"), ("b.csv", "x"), ("c.csv.gz", "y"), ("d.txt", "z"):
        (tmp_path / name).write_text(content)
    parts = Csv(str(tmp_path / "*.csv*")).parts()
    assert [part.name for part in parts] == ["a.csv", "b.csv", "c.csv.gz"]
    assert [part.name for part in Csv(str(tmp_path)).parts()] == ["a.csv", "b.csv", "c.csv.gz"]
    a, b, c = (part.identity() for part in parts)  # of the bytes alone
    assert a == b != c


def test_the_path_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="needs the option 'path'"):
        build("source", "csv", {})
