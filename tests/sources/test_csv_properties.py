"""A row's fate is its own: it hangs neither on its neighbours nor on how it was read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from csv_samples import TINY_HEADER, Outcome, outcomes, read
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.sources import csv
from mnist_pipeline.sources.csv_cells import cut_cells, read_cell

BLANK = b" \t\r"
steady = settings(deadline=None, derandomize=True, database=None)


def plain_cell(cell: str) -> int | str:
    """What the manual says about a cell, in as few words as possible."""
    content = cell.strip(" \t")
    if len(content) > 1 and content[0] == content[-1] == '"':
        content = content[1:-1].strip(" \t")
    sign, digits = content[:1], content.removeprefix("+").removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or content[1:2] in ("+", "-"):
        return "" if not content else "pixel_not_a_number"
    fits = sign != "-" and int(digits) <= 255
    return int(digits) if fits else "pixel_out_of_range"


def plain_line(line: bytes, names: list[str], asked: list[str]) -> list[int] | tuple[str, str]:
    """What the manual says about a line: its numbers, or reason and detail."""
    line = line.removesuffix(b"\r") if line.strip(BLANK) else b""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return "undecodable_text", f"byte {error.start} of the line is not UTF-8"
    for at, byte in enumerate(line):
        if (byte < 32 and byte != 9) or byte == 127:
            return "undecodable_text", f"byte {at} of the line is a control character"
    cells = text.split(",")
    if len(cells) != len(names):
        return "wrong_column_count", f"columns: {len(cells)}, expected: {len(names)}"
    row = []
    for name in asked:
        cell = cells[names.index(name)]
        value = plain_cell(cell)
        if isinstance(value, str):
            if name == "label":
                reason = "label_out_of_range" if value else "label_missing"
            else:
                reason = value or "pixel_not_a_number"
            return reason, f"column {name} is {cell[:40] + '…' * (len(cell) > 40)!r}"
        row.append(value)
    return row


def plain_reader(lines: list[bytes], names: list[str], asked: list[str]) -> list[Outcome]:
    while lines and not lines[-1].strip(BLANK):
        lines = lines[:-1]
    found: list[Outcome] = []
    for place, line in enumerate(lines, 2):
        row = plain_line(line, names, asked)
        if isinstance(row, tuple):
            payload = line[:4096] if line.strip(BLANK) else b""
            found.append((place, (*row, payload)))
        else:
            found.append((place, row))
    return found


DIGITS = st.integers(0, 300).map(str)
AROUND = st.sampled_from(["", "", "", " ", "\t", "  ", " " * 20, "+", "0", "00", '"', "-", "+ "])
CELLS = st.one_of(
    DIGITS,
    st.tuples(AROUND, AROUND, DIGITS, AROUND, AROUND).map("".join),
    DIGITS.map('"{}"'.format),
    st.sampled_from(["", "abc", "NaN", "12.5", "0x1F", "1e2", "é", "３", "0" * 50 + "1", "9" * 50]),
    st.text('0123456789+- .\t"#eé\0\x7f', max_size=5),
)
LINES = st.one_of(
    st.lists(DIGITS, min_size=4, max_size=4).map(",".join).map(str.encode),
    st.lists(CELLS, min_size=4, max_size=4).map(",".join).map(str.encode),
    st.lists(CELLS, max_size=6).map(",".join).map(str.encode),
    st.sampled_from(
        [b"", b" ", b"\r", b"\r\t", b"# a remark", b"1,2,3,4\r", b"1,2,3,4 \r", b"," * 3]
    ),
    st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"\r")),
)
HEADERS = st.permutations(TINY_HEADER.split(","))


@settings(steady, max_examples=150)
@given(
    lines=st.lists(LINES, min_size=1, max_size=9).filter(
        lambda found: b"".join(found).strip(BLANK)
    ),
    names=HEADERS,
    labelled=st.booleans(),
    chunk=st.sampled_from([1, 7, 30, 100, 1 << 18]),
)
def test_any_mix_of_lines_is_read_as_the_manual_says(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    names: list[str],
    labelled: bool,
    chunk: int,
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    header = ",".join(names).encode()
    asked = TINY_HEADER.split(",")[not labelled :]
    expected = plain_reader(lines, names, asked)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(csv, "_CHUNK_BYTES", chunk)  # so that a stretch ends anywhere
        together = read(folder, b"\n".join([header, *lines]), labelled=labelled)
    assert outcomes(together) == expected

    good = b"1,2,3,4"  # behind each line, so that a blank one is a line in the middle
    for place, outcome in expected:
        alone = read(folder, b"\n".join([header, lines[place - 2], good]), labelled=labelled)
        assert outcomes(alone)[0] == (2, outcome)


@settings(steady, max_examples=100)
@given(cells=st.lists(CELLS.filter(lambda cell: "," not in cell), min_size=1, max_size=30))
def test_the_array_arithmetic_reads_a_cell_as_one_reads_it_alone(cells: list[str]) -> None:
    assert_alike([cell.encode() for cell in cells])


@pytest.mark.parametrize(
    ("signs", "longest"), [('025 +"', 6), ("0123456789", 3), ('9\t\r+-".x', 4)]
)
def test_every_short_cell_is_read_alike(signs: str, longest: int) -> None:
    products = (itertools.product(signs, repeat=length) for length in range(longest + 1))
    assert_alike(["".join(cell).encode() for cells in products for cell in cells])


def assert_alike(cells: list[bytes]) -> None:
    """Where the array arithmetic knows a number, it is that of `read_cell`; others are no error."""
    found = cut_cells(b",".join(cells) + b"\n")
    assert len(found.ends) == len(cells)
    for cell, known, value in zip(cells, found.known, found.values, strict=True):
        assert plain_cell(cell.decode()) in (read_cell(cell), "")
        if known:
            assert value == read_cell(cell), cell


@pytest.mark.parametrize(
    "form", ["{}", " {}", "{} ", "+{}", "{:03}", "{:05}", "{:4}", "{:<4}", '"{}"', ' "{}"', "\t{}"]
)
def test_common_spellings_need_no_second_look(form: str) -> None:
    """Else a file of them would be read one cell at a time."""
    cells = [form.format(value).encode() for value in range(256)]
    found = cut_cells(b",".join(cells) + b"\r\n")
    assert found.known.all()
    np.testing.assert_array_equal(found.values, np.arange(256))
