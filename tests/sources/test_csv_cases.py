"""Every way in which CSV is known to arrive, by name, with what becomes of it."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from csv_samples import CONTRACT, HEADER, TINY_HEADER, outcomes, read, rows, text, tiny

from mnist_pipeline.contract.records import REASONS, Reject
from mnist_pipeline.errors import DataError

# A number from 0 to 255 in digits, and what around it is harmless.
GOOD = {
    "zero": ("0", 0),
    "255": ("255", 255),
    "space before": (" 3", 3),
    "space behind": ("3 ", 3),
    "tab": ("\t3", 3),
    "aligned": ("       3", 3),
    "plus": ("+3", 3),
    "zeros before": ("007", 7),
    "many zeros before": ("0" * 300 + "255", 255),
    "all of it": ("  +0003\t ", 3),
    "quoted": ('"5"', 5),
    "quoted, spaces inside and outside": (' " 5 " ', 5),
    "quoted plus": ('"+005"', 5),
}
OUT_OF_RANGE = {
    "256": "256",
    "-1": "-1",
    "minus zero": "-0",
    "999": "999",
    "1000": "1000",
    "a long number": "9" * 5000,
    "quoted 256": '"256"',
}
NOT_A_NUMBER = {
    "abc": "abc",
    "empty": "",
    "only a space": " ",
    "NaN": "NaN",
    "12.5": "12.5",
    "12.0": "12.0",
    "12.": "12.",
    "0x1F": "0x1F",
    "1e2": "1e2",
    "1_0": "1_0",
    "a sign alone": "+",
    "two signs": "+-3",
    "sign apart": "+ 3",
    "sign behind": "3+",
    "two numbers": "3 3",
    "#": "#3",
    "quoted nothing": '""',
    "quote only before": '"5',
    "quote only behind": '5"',
    "sign before a quote": '+"5"',
    "quoted twice": '""5""',
    "single quotes": "'3'",
    "digits of another script": "３",
    "é": "é",
    "inf": "inf",
    "True": "True",
    "null": "null",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_cell_that_is_a_number(tmp_path: Path, name: str) -> None:
    cell, value = GOOD[name]
    records = read(tmp_path, tiny(f"{cell},{cell},1,{cell}"))
    assert outcomes(records) == [(2, [value, value, 1, value])]


@pytest.mark.parametrize("name", [*OUT_OF_RANGE, *NOT_A_NUMBER])
def test_a_cell_that_is_none(tmp_path: Path, name: str) -> None:
    reason = "pixel_out_of_range" if name in OUT_OF_RANGE else "pixel_not_a_number"
    cell = {**OUT_OF_RANGE, **NOT_A_NUMBER}[name]
    shown = repr(cell if len(cell) <= 40 else cell[:40] + "…")
    pixel, label = f"1,0,{cell},0", f"{cell},0,0,0"
    records = read(tmp_path, tiny("1,2,3,4", pixel, label))
    assert records.images.tolist() == [[2, 3, 4]]
    label_reason = "label_out_of_range" if cell.strip(' "') else "label_missing"
    assert records.rejects == (
        Reject("digits.csv", 3, reason, f"column pixel1 is {shown}", pixel.encode()[:4096]),
        Reject("digits.csv", 4, label_reason, f"column label is {shown}", label.encode()[:4096]),
    )


def test_numpy_agrees_what_a_number_is() -> None:
    """The policy for cells is that of np.loadtxt, the strictest reader there was to follow."""
    cells = {**OUT_OF_RANGE, **NOT_A_NUMBER, **{name: cell for name, (cell, _) in GOOD.items()}}
    # Quotes are read by np.loadtxt as Python's csv module does: within and around them nothing may
    # be lost, so it is asked only about whole ones.
    of_its_own = {name for name, cell in cells.items() if '"' in cell} - {"quoted", "quoted 256"}
    for name in cells.keys() - of_its_own:
        try:
            line = [f"{cells[name]},0"]
            value = np.loadtxt(line, np.uint8, delimiter=",", comments=None, quotechar='"')[0]
        except ValueError:
            value = None
        assert (GOOD[name][1] if name in GOOD else None) == value, name


COUNT = "wrong_column_count"
LINES = {
    "short row": (b"1,2,3", COUNT, "columns: 3, expected: 4"),
    "extra column": (b"1,2,3,4,5", COUNT, "columns: 5, expected: 4"),
    "trailing comma": (b"1,2,3,4,", COUNT, "columns: 5, expected: 4"),
    "a thousand columns": (b"1," * 5000, COUNT, "columns: 5001, expected: 4"),
    "a remark": (b"# a remark", COUNT, "columns: 1, expected: 4"),
    "# before a row": (b"#1,2,3,4", "label_out_of_range", "column label is '#1'"),
    "blank line": (b"", COUNT, "columns: 1, expected: 4"),
    "spaces only": (b" \t", COUNT, "columns: 1, expected: 4"),
    "CR and tab": (b"\r\t", COUNT, "columns: 1, expected: 4"),
    "commas only": (b",,,", "label_missing", "column label is ''"),
    "comma within quotes": (b'1,2,"3,4"', "pixel_not_a_number", "column pixel1 is '\"3'"),
    "unclosed quote": (b'1,2,3,"4', "pixel_not_a_number", "column pixel2 is '\"4'"),
    "junk bytes": (b"\x89PNG\xff", "undecodable_text", "byte 0 of the line is not UTF-8"),
    "a byte of Latin-1": (b"1,2,\xff,4", "undecodable_text", "byte 4 of the line is not UTF-8"),
    "a letter cut in half": (b"1,2,\xc3,4", "undecodable_text", "byte 4 of the line is not UTF-8"),
    "NUL": (b"1,2,\0,4", "undecodable_text", "byte 4 of the line is a control character"),
    "CR in the middle": (
        b"1,2\r,3,4",
        "undecodable_text",
        "byte 3 of the line is a control character",
    ),
    "CR alone, two rows": (
        b"1,2,3,4\r5,6,7,8",
        "undecodable_text",
        "byte 7 of the line is a control character",
    ),
    "label missing": (b",2,3,4", "label_missing", "column label is ''"),
    "the first pixel at fault": (b"1,x,-1,", "pixel_not_a_number", "column pixel0 is 'x'"),
    "label before pixels": (b"x,300,1,1", "label_out_of_range", "column label is 'x'"),
    "text before columns": (b"\xff", "undecodable_text", "byte 0 of the line is not UTF-8"),
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("name", LINES)
def test_a_bad_line_is_rejected_alone(tmp_path: Path, name: str, end: bytes) -> None:
    line, reason, detail = LINES[name]
    records = read(tmp_path, end.join([TINY_HEADER.encode(), b"1,2,3,4", line, b"5,6,7,8", b""]))
    payload = (line + end).removesuffix(b"\n")[:4096] if line.strip() else b""
    assert outcomes(records) == [
        (2, [1, 2, 3, 4]),
        (3, (reason, detail, payload)),
        (4, [5, 6, 7, 8]),
    ]
    assert reason in REASONS


def test_label_10_is_read_and_judged_later(tmp_path: Path) -> None:
    records = read(tmp_path, tiny("10,0,0,0", "255,0,0,0"))
    assert outcomes(records) == [(2, [10, 0, 0, 0]), (3, [255, 0, 0, 0])]


FORMS: dict[str, Callable[[str], bytes]] = {
    "as Kaggle has it": str.encode,
    "no final newline": lambda content: content.rstrip("\n").encode(),
    "CRLF": lambda content: content.replace("\n", "\r\n").encode(),
    "CRLF, no final newline": lambda content: content.replace("\n", "\r\n").rstrip().encode(),
    "BOM": lambda content: b"\xef\xbb\xbf" + content.encode(),
    "gzip under any name": lambda content: gzip.compress(content.encode()),
    "several gzip members": lambda content: b"".join(
        gzip.compress(content[at : at + 700_000].encode()) for at in range(0, len(content), 700_000)
    ),
    "blank lines at the end": lambda content: (content + "\n\r\n  \n").encode(),
    "quoted header": lambda content: (
        ('"' + HEADER.replace(",", '","') + '"').encode() + content.removeprefix(HEADER).encode()
    ),
    "everything quoted": lambda content: b"\n".join(
        b'"' + line.replace(b",", b'","') + b'"' for line in content.encode().splitlines()
    ),
    "spaces here and there": lambda content: content.replace(",", " , ", 1000).encode(),
}


@pytest.mark.parametrize("n", [1, 700])
@pytest.mark.parametrize("name", FORMS)
def test_a_good_file(tmp_path: Path, name: str, n: int) -> None:
    table = rows(n)
    records = read(tmp_path, FORMS[name](text(table)), CONTRACT)
    np.testing.assert_array_equal(records.images, table[:, 1:])
    np.testing.assert_array_equal(records.labels, table[:, 0])
    np.testing.assert_array_equal(records.places, np.arange(2, n + 2))
    assert records.rejects == ()
    assert records.images.dtype == np.uint8
    assert records.labels is not None
    assert records.labels.dtype == records.places.dtype == np.int64


ROW = tiny("1,2,3,4")
FILES: dict[str, tuple[bytes | str, str, dict[str, object]]] = {
    "empty file": (b"", "is empty", {}),
    "empty gzip": (gzip.compress(b""), "is empty", {}),
    "header only": (tiny(), "has a header and no rows", {}),
    "header only, no newline": (TINY_HEADER, "has a header and no rows", {}),
    "header and blank lines": (tiny() + "\n \n\r\n", "has a header and no rows", {}),
    "no header": ("1,2,3,4\n5,6,7,8\n", "has no header", {"found": "'1,2,3,4'"}),
    "blank first line": ("\n" + ROW, "has no header", {"found": "''"}),
    "duplicated header": (
        "label,pixel0,pixel1,pixel1\n",
        "has a column twice",
        {"columns": "'pixel1'"},
    ),
    "a pixel too few": ("label,pixel0,pixel2\n", "has too few columns", {"missing": "'pixel1'"}),
    "no label": ("pixel0,pixel1,pixel2\n", "has no labels", {"missing": "'label'"}),
    "semicolons": (
        TINY_HEADER.replace(",", ";"),
        "has an unknown column",
        {"unknown": "'label;pixel0;pixel1;pixel2'"},
    ),
    "misspelt": (
        "labl,pixel0,pixel1,pixel2\n",
        "has an unknown column",
        {"unknown": "'labl'"},
    ),
    "trailing comma in the header": (
        TINY_HEADER + ",\n",
        "has an unknown column",
        {"unknown": "''"},
    ),
    "CR alone": ("label,pixel0\r1,2\r", "ends its lines with CR alone", {}),
    "CR alone, large": (
        TINY_HEADER + "\r" + "1,2,3,4\r" * 300_000,
        "ends its lines with CR alone",
        {},
    ),
    "UTF-16": ("label,pixel0\n".encode("utf-16"), "is not UTF-8 text", {}),
    "a picture": (b"\x89PNG\r\n\x1a\n", "is not UTF-8 text", {}),
    "a million columns": (b"," * 1_000_000 + b"\n", "has a column twice", {"columns": "''"}),
    "gzip cut": (gzip.compress(ROW.encode())[:-3], "is a damaged gzip file", {}),
    "gzip and more": (gzip.compress(ROW.encode()) + b"x", "is a damaged gzip file", {}),
    "a header without end": (b"x" * 3_000_000, "has a line without end", {"line": 1}),
    "a line without end": (ROW + "1" * 3_000_000, "has a line without end", {"line": 3}),
    "a line of a megabyte": (
        ROW + "1" * 1_050_000 + "\n1,2,3,4",
        "has a line without end",
        {"line": 3},
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    content, headline, facts = FILES[name]
    start = time.process_time()
    with pytest.raises(DataError, match=headline) as caught:
        read(tmp_path, content)
    assert time.process_time() - start < 5  # a header of a million columns is no way to stall
    assert caught.value.headline.startswith("digits.csv ")
    assert caught.value.facts["file"] == str(tmp_path / "digits.csv")
    assert caught.value.remedy
    assert facts.items() <= caught.value.facts.items()
    assert all(len(str(fact)) < 500 for fact in caught.value.facts.values())


def test_the_nearest_name_is_offered(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, "labl,pixel0,pixel1,pixel2\n1,2,3,4\n")
    assert "nearest to 'labl' is label" in caught.value.remedy


def test_who_has_no_labels_is_told_what_to_say(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no labels") as caught:
        read(tmp_path, "pixel0,pixel1,pixel2\n1,2,3\n")
    assert "--unlabelled" in caught.value.remedy
    assert "labelled=false" in caught.value.remedy
