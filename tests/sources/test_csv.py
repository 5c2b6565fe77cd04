"""CSV files: columns by name, cells judged alike on both paths, every bad row accounted for."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnist_pipeline.contract.records import REASONS, Records, Reject
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.plugins import build
from mnist_pipeline.sources import csv
from mnist_pipeline.sources.csv import Csv, CsvPart

CONTRACT = ImageContract()
TINY = ImageContract(height=1, width=3)
HEADER = "label," + ",".join(f"pixel{k}" for k in range(784))


def rows(n: int, seed: int = 0) -> NDArray[np.uint8]:
    """(n, 785) uint8: a digit and its pixels."""
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (n, 785), dtype=np.uint8)
    table[:, 0] %= 10
    return table


def text(table: NDArray[np.uint8], header: str = HEADER) -> str:
    lines = [",".join(map(str, row)) for row in table.tolist()]
    return "\n".join([header, *lines]) + "\n"


def read(
    folder: Path, content: bytes | str, contract: ImageContract = CONTRACT, labelled: bool = True
) -> Records:
    """All records of a file with this content, as one."""
    path = folder / "digits.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    blocks = list(CsvPart(path, labelled=labelled).read(contract))
    assert all(block.images.flags.c_contiguous for block in blocks)
    labels = [block.labels for block in blocks if block.labels is not None]
    return Records(
        np.concatenate([block.images for block in blocks]),
        np.concatenate(labels) if labels else None,
        np.concatenate([block.places for block in blocks]),
        blocks[0].source,
        tuple(reject for block in blocks for reject in block.rejects),
    )


def tiny(*lines: str) -> str:
    return "\n".join(["label,pixel0,pixel1,pixel2", *lines]) + "\n"


def outcome(records: Records) -> list[tuple[object, ...]]:
    """What became of each row, in the order of the file."""
    labels = records.labels.tolist() if records.labels is not None else [None] * len(records)
    images, places = records.images.tolist(), records.places.tolist()
    kept = [
        (place, label, *image) for place, label, image in zip(places, labels, images, strict=True)
    ]
    return sorted([*kept, *((r.place, r.reason, r.detail, r.payload) for r in records.rejects)])


def same(records: Records, table: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(records.images, table[:, 1:])
    np.testing.assert_array_equal(records.labels, table[:, 0])
    np.testing.assert_array_equal(records.places, np.arange(2, len(table) + 2))
    assert records.rejects == ()
    assert records.images.dtype == np.uint8
    assert records.labels is not None
    assert records.labels.dtype == records.places.dtype == np.int64


@pytest.mark.parametrize(
    "spell",
    [
        str.encode,
        lambda content: content.rstrip("\n").encode(),
        lambda content: content.replace("\n", "\r\n").encode(),
        lambda content: b"\xef\xbb\xbf" + content.encode(),
        lambda content: gzip.compress(content.encode()),
        lambda content: (content + "\n\r\n  \n").encode(),
        lambda content: content.replace(HEADER, '"' + HEADER.replace(",", '","') + '"').encode(),
        lambda content: content.replace(",", ", ", 1000).encode(),
    ],
    ids=["plain", "unfinished", "crlf", "bom", "gzip", "blank end", "quoted header", "spaces"],
)
@pytest.mark.parametrize("n", [1, 700])
def test_a_kaggle_file(tmp_path: Path, spell: Callable[[str], bytes], n: int) -> None:
    table = rows(n)
    same(read(tmp_path, spell(text(table))), table)


def test_the_fast_path_takes_every_clean_table() -> None:
    table = rows(300) // np.random.default_rng(3).choice([1, 10, 100], (300, 785))
    body = text(table.astype(np.uint8)).encode().partition(b"\n")[2]
    for spelled in body, body.replace(b"\n", b"\r\n"):
        np.testing.assert_array_equal(csv._parse_digits(spelled, 785), table)


def test_blocks_are_near_the_size_of_a_row_group(tmp_path: Path) -> None:
    table = rows(9_000) % 10
    path = tmp_path / "digits.csv"
    path.write_text(text(table))
    sizes = [len(block) for block in CsvPart(path).read(CONTRACT)]
    assert sum(sizes) == 9_000
    assert all(8192 <= size < 8900 for size in sizes[:-1])


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    table = rows(5)
    order = np.random.default_rng(1).permutation(785)
    header = ",".join(np.array(HEADER.split(","))[order])
    same(read(tmp_path, text(table[:, order], header)), table)


def test_unlabelled(tmp_path: Path) -> None:
    for content in tiny("x,1,2,3", ",4,5,6"), "pixel0,pixel1,pixel2\n1,2,3\n4,5,6\n":
        records = read(tmp_path, content, TINY, labelled=False)
        assert records.images.tolist() == [[1, 2, 3], [4, 5, 6]]
        assert records.labels is None
        assert records.rejects == ()


GOOD = {"0": 0, "255": 255, " 3": 3, "3 ": 3, "\t3": 3, "+3": 3, "007": 7, "0000000255": 255}
OUTSIDE = ["256", "-1", "-0", "999", "1000", "9" * 5000, "-300"]
NOT_NUMBERS = [
    *["abc", "", " ", "NaN", "12.5", "12.", "0x1F", "1e2", "1_0", "+", "-", "+-3", "3 3", "#3"],
    *['"3"', "'3'", "３", "é", "inf", "True", "null"],
]  # fmt: skip


@pytest.mark.parametrize("cell", GOOD)
def test_cells_that_are_numbers(tmp_path: Path, cell: str) -> None:
    records = read(tmp_path, tiny(f"{cell},{cell},1,{cell}"), TINY)
    assert records.rejects == ()
    assert outcome(records) == [(2, GOOD[cell], GOOD[cell], 1, GOOD[cell])]


@pytest.mark.parametrize("cell", [*OUTSIDE, *NOT_NUMBERS])
def test_cells_that_are_not(tmp_path: Path, cell: str) -> None:
    pixel, label = f"1,0,{cell},0", f"{cell},0,0,0"
    records = read(tmp_path, tiny("1,2,3,4", pixel, label), TINY)
    assert records.images.tolist() == [[2, 3, 4]]
    shown = repr(cell if len(cell) <= 40 else cell[:40] + "…")
    reason = "pixel_out_of_range" if cell in OUTSIDE else "pixel_not_a_number"
    label_reason = "label_out_of_range" if cell.strip() else "label_missing"
    assert records.rejects == (
        Reject("digits.csv", 3, reason, f"column pixel1 is {shown}", pixel.encode()[:4096]),
        Reject("digits.csv", 4, label_reason, f"column label is {shown}", label.encode()[:4096]),
    )


def test_numpy_agrees_what_a_number_is() -> None:
    """The policy for cells is that of np.loadtxt, the strictest reader there was to follow."""
    for cell in [*GOOD, *OUTSIDE, *NOT_NUMBERS]:
        try:
            value = np.loadtxt([f"{cell},0"], dtype=np.uint8, delimiter=",", comments=None)[0]
        except ValueError:
            value = None
        assert GOOD.get(cell) == value, cell


def test_a_label_outside_the_contract_is_judged_later(tmp_path: Path) -> None:
    records = read(tmp_path, tiny("10,0,0,0", "255,0,0,0"), TINY)
    assert records.labels is not None
    assert records.labels.tolist() == [10, 255]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"1,2,3", "wrong_column_count", "columns: 3, expected: 4"),
        (b"1,2,3,4,5", "wrong_column_count", "columns: 5, expected: 4"),
        (b"1,2,3,4,", "wrong_column_count", "columns: 5, expected: 4"),
        (b"# a remark", "wrong_column_count", "columns: 1, expected: 4"),
        (b"#1,2,3,4", "label_out_of_range", "column label is '#1'"),
        (b"", "wrong_column_count", "columns: 1, expected: 4"),
        (b" \t", "wrong_column_count", "columns: 1, expected: 4"),
        (b",,,", "label_missing", "column label is ''"),
        (b'1,2,"3,4', "pixel_not_a_number", "column pixel1 is '\"3'"),
        (b"1,2,\xff,4", "undecodable_text", "byte 4 of the line is not UTF-8"),
        (b"1,2,\0,4", "undecodable_text", "byte 4 of the line is a control character"),
        (b"1,2,3\r,4", "undecodable_text", "byte 5 of the line is a control character"),
        (b"1,x,-1,", "pixel_not_a_number", "column pixel0 is 'x'"),
        (b"x,300,1,1", "label_out_of_range", "column label is 'x'"),
        (b"1," * 5000, "wrong_column_count", "columns: 5001, expected: 4"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_bad_line_is_rejected_alone(
    tmp_path: Path, line: bytes, reason: str, detail: str, end: bytes
) -> None:
    content = end.join([b"label,pixel0,pixel1,pixel2", b"1,2,3,4", line, b"5,6,7,8", b""])
    records = read(tmp_path, content, TINY)
    payload = (line + end).removesuffix(b"\n")[:4096]
    assert records.rejects == (Reject("digits.csv", 3, reason, detail, payload),)
    assert reason in REASONS
    assert records.images.tolist() == [[2, 3, 4], [6, 7, 8]]
    assert records.places.tolist() == [2, 4]


def test_bad_rows_anywhere_in_a_long_file(tmp_path: Path) -> None:
    table = rows(3000)
    lines = text(table).splitlines()
    random = np.random.default_rng(2)
    bad = set(random.choice(np.arange(1, 3001), 40, replace=False).tolist()) | {1, 3000}
    for index in bad:
        lines[index] = lines[index].replace(",", ",x", 1)
    records = read(tmp_path, "\n".join(lines))
    assert {reject.place for reject in records.rejects} == {index + 1 for index in bad}
    good = np.array(sorted(set(range(1, 3001)) - bad))
    np.testing.assert_array_equal(records.places, good + 1)
    np.testing.assert_array_equal(records.images, table[good - 1, 1:])


@pytest.mark.parametrize("blank", [1, 600, 20_000])
def test_blank_lines_count_unless_the_file_ends_with_them(
    tmp_path: Path, blank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv, "_CHUNK_BYTES", 500)  # so that a run of them covers several
    records = read(tmp_path, tiny("1,2,3,4") + "\n" * blank, TINY)
    assert records.rejects == ()
    records = read(tmp_path, tiny("1,2,3,4") + "\n" * blank + "5,6,7,8\n\n\n", TINY)
    assert [reject.place for reject in records.rejects] == list(range(3, blank + 3))
    assert {reject.reason for reject in records.rejects} == {"wrong_column_count"}
    assert records.places.tolist() == [2, blank + 3]


CELLS = st.one_of(
    st.integers(0, 260).map(str),
    st.sampled_from([*GOOD, *OUTSIDE, *NOT_NUMBERS]),
    st.text('0123456789+- .,\r\t"#eé\0', max_size=5),
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    lines=st.lists(st.lists(CELLS, min_size=4, max_size=4).map(",".join), min_size=1, max_size=9)
)
def test_both_paths_judge_alike(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """A file read as a whole fares as its lines do, each walked cell by cell."""
    content = tiny(*lines)
    columns = csv._Columns("digits.csv", content.splitlines()[0].split(","), [1, 2, 3], 0)
    expected: list[tuple[object, ...]] = []
    for place, line in enumerate(content.encode().split(b"\n")[1:-1], 2):
        row = csv._read_row(line.removesuffix(b"\r"), columns)
        expected.append(
            (place, *row, line[:4096]) if isinstance(row, tuple) else (place, *row.tolist())
        )
        fast = csv._parse_digits(line + b"\n", 4)
        if fast is not None:
            assert not isinstance(row, tuple)
            assert fast.tolist() == [row.tolist()]
            assert fast.tolist() == [np.loadtxt([line.decode()], np.uint8, delimiter=",").tolist()]
    assert outcome(read(tmp_path_factory.mktemp("rows"), content, TINY)) == expected


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    table=st.lists(st.lists(st.integers(0, 300), min_size=4, max_size=4), min_size=1, max_size=9)
)
def test_numbers_are_what_they_say(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[int]]
) -> None:
    content = tiny(*(",".join(map(str, row)) for row in table))
    records = read(tmp_path_factory.mktemp("numbers"), content, TINY)
    kept = [(place, *row) for place, row in enumerate(table, 2) if max(row) <= 255]
    assert [row for row in outcome(records) if isinstance(row[1], int)] == kept
    assert len(records) + len(records.rejects) == len(table)


@pytest.mark.parametrize(
    ("content", "headline", "facts"),
    [
        (b"", "is empty", {}),
        (gzip.compress(b""), "is empty", {}),
        (tiny(), "has a header and no rows", {}),
        (b"label,pixel0,pixel1,pixel2", "has a header and no rows", {}),
        (tiny() + "\n \n\r\n", "has a header and no rows", {}),
        ("1,2,3,4\n5,6,7,8\n", "has no header", {"found": "'1,2,3,4'"}),
        ("\n" + tiny("1,2,3,4"), "has no header", {"found": "''"}),
        ("label,pixel0,pixel1,pixel1\n", "has a column twice", {"columns": "'pixel1'"}),
        ("label,pixel0,pixel2\n", "has too few columns", {"missing": "'pixel1'"}),
        ("pixel0,pixel1,pixel2\n", "has too few columns", {"missing": "'label'"}),
        ("label;pixel0;pixel1\n", "has an unknown column", {"unknown": "'label;pixel0;pixel1'"}),
        ("labl,pixel0,pixel1,pixel2\n", "has an unknown column", {"unknown": "'labl'"}),
        ("label,pixel0,pixel1,pixel2,\n", "has an unknown column", {"unknown": "''"}),
        ("label,pixel0\r1,2\r", "ends its lines with CR alone", {}),
        ("label,pixel0\n".encode("utf-16"), "is not UTF-8 text", {}),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text", {}),
        (b"," * 1_000_000 + b"\n", "has a column twice", {"columns": "''"}),
        (gzip.compress(tiny("1,2,3,4").encode())[:-3], "is a damaged gzip file", {}),
        (gzip.compress(tiny("1,2,3,4").encode()) + b"x", "is a damaged gzip file", {}),
        (b"x" * 3_000_000, "has a line without end", {"line": 1}),
        (tiny("1,2,3,4") + "1" * 3_000_000, "has a line without end", {"line": 3}),
        (tiny("1,2,3,4") + "1" * 1_050_000 + "\n1,2,3,4", "has a line without end", {"line": 3}),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | str, headline: str, facts: dict[str, object]
) -> None:
    start = time.process_time()
    with pytest.raises(DataError, match=headline) as caught:
        read(tmp_path, content, TINY)
    assert time.process_time() - start < 5  # a header of a million columns is no way to stall
    assert caught.value.headline.startswith("digits.csv ")
    assert caught.value.facts["file"] == str(tmp_path / "digits.csv")
    assert caught.value.remedy
    assert facts.items() <= caught.value.facts.items()
    assert all(len(str(fact)) < 500 for fact in caught.value.facts.values())


def test_the_nearest_name_is_offered(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, "labl,pixel0,pixel1,pixel2\n1,2,3,4\n", TINY)
    assert "nearest to 'labl' is label" in caught.value.remedy
    with pytest.raises(DataError) as caught:
        read(tmp_path, "pixel0,pixel1,pixel2\n1,2,3\n", TINY)
    assert "labelled=false" in caught.value.remedy


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv"
    line = (",".join(["7"] * 785) + "\n").encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(HEADER.encode() + b"\n")
        for _ in range(50):
            file.write(line * 500)
    tracemalloc.start()
    try:
        total = sum(len(block) for block in CsvPart(path).read(CONTRACT))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 25_000  # 39 MB of text
    assert peak < 30_000_000


def test_the_identity_is_that_of_the_bytes(tmp_path: Path) -> None:
    for name, content in ("a.csv", "x"), ("b.csv", "x"), ("c.csv", "y"):
        (tmp_path / name).write_text(content)
    a, b, c = (part.identity() for part in Csv(str(tmp_path / "*.csv")).parts())
    assert a == b != c


def test_the_path_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="needs the option 'path'"):
        build("source", "csv", {})
