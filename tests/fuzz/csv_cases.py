"""Mutated CSV files, and an independent reading of them: slow, one line and one cell at a time."""

from __future__ import annotations

import codecs
import functools
import gzip
import re
from collections.abc import Callable

import numpy as np
from mutations import PIXELS, Case, Rows, chance, damage, digits, packed, pick, rows_of, unpacked

NAMES = ["label", *(f"pixel{k}" for k in range(PIXELS))]
TOKENS = [
    *["256", "255", "-1", "-0", "abc", "", " ", "NaN", "nan", "inf", "-inf", "12.5", "12.0", "1."],
    *["0x1F", "1e2", " 3", "3 ", "\t3", "+3", "+", "-", "+-3", "007", "0000000255", "9" * 5000],
    *[
        "0" * 300 + "7",
        "0" * 5000 + "7",
        ' " 5 " ',
        '"+005"',
        '"256"',
        '""5""',
        '"5',
        "３",
        "٣",
        "é",
        "1_000",
        "1,000",
        '"3"',
        '"3',
        "'3'",
        '"',
        '""',
        "3\0",
    ],
    *["\0", "\r", "\x0b3", "\x1f", "\x7f", "\ufeff3", "\u00a03", "null", "None", "True", "#3"],
    *["=1+1", "\\N", "1;2", "x" * 70_000, "10", "11", "99", "999", "1000", "4294967296", "2**8"],
]
LINES = [
    *["", " ", "\t", "\r", ",", "# a remark", "#", '"', "label", ",".join(NAMES), "\0", "\ufeff"],
    *[",".join(["0"] * 785) + ",", ",".join(["0"] * 784), ",".join(["0"] * 786), "," * 784],
    *[",".join(["7"] * 785), ";".join(["7"] * 785), "\t".join(["7"] * 785), "1," * 30_000],
]
LONGEST_LINE = 1 << 20


@functools.cache
def base(count: int, seed: int) -> tuple[tuple[str, ...], dict[bytes, bytes]]:
    """The lines of a valid file, and what each means."""
    images, labels = digits(np.random.default_rng([count, seed]), count)
    table = np.column_stack([labels, images]).tolist()
    lines = tuple(",".join(map(str, row)) for row in table)
    return lines, {
        line.encode(): row
        for line, row in zip(lines, rows_of(images, labels), strict=True)
        if row is not None
    }


def make(rng: np.random.Generator) -> Case:
    count = pick(rng, [1, 10, 24, 24, 60]) if chance(rng, 0.98) else 2_500
    body, meanings = base(count, int(rng.integers(3)))
    lines, words, end = [",".join(NAMES), *body], [], "\n"
    for _ in range(pick(rng, [0, 1, 1, 1, 2, 3])):
        change: Callable[..., str] = pick(rng, [_cells, _cells, _cells, _lines, _lines, _header])
        words.append(change(rng, lines))
        lines = lines or [""]
    if chance(rng, 0.15):
        end = pick(rng, ["\r\n", "\r\n", "\r", "\n\n", "\n\r", "\r\r\n"])
        words.append(f"ends {end!r}")
    text = end.join(lines) + (end if chance(rng, 0.8) else "")
    if chance(rng, 0.08):
        text = text.replace("\n", "\r\n", int(rng.integers(1, 30)))
        words.append("mixed ends")
    if chance(rng, 0.05):
        text += pick(rng, ["\n", " ", "\n \n\t\n", "\r\n\r\n", "\n" * 3000, "\n0", '\n"', "\x1a"])
        words.append("tail")
    data = text.encode()
    if chance(rng, 0.08):
        encoding = pick(rng, ["utf-8-sig", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp500"])
        data = text.encode(encoding, "replace")
        words.append(encoding)
    other = "\n".join(base(10, 9)[0]).encode()
    if chance(rng, 0.3):
        data, word = damage(rng, data, other)
        words.append(word)
    if chance(rng, 0.02):
        data, word = _bomb(rng)
        words.append(word)
    elif chance(rng, 0.2):
        data, word = packed(rng, data, other)
        words.append(word)
    name = pick(rng, ["digits.csv", "digits.csv.gz"])
    return Case("; ".join(words), {name: data}, ("csv", name), *_read(data, meanings))


def _cells(rng: np.random.Generator, lines: list[str]) -> str:
    """Tokens in place of numbers."""
    for _ in range(pick(rng, [1, 1, 1, 2, 5, 40])):
        at = int(rng.integers(1, len(lines))) if len(lines) > 1 else 0
        cells = lines[at].split(",")
        where = 0 if chance(rng, 0.3) else int(rng.integers(len(cells)))
        cells[where] = pick(rng, TOKENS)
        lines[at] = ",".join(cells)
    return "cells"


def _lines(rng: np.random.Generator, lines: list[str]) -> str:
    """Lines dropped, repeated, joined, swapped, cut, put in, or with other delimiters."""
    kinds = ["drop", "repeat", "join", "swap", "cut", "insert", "insert", "delimiter", "blank"]
    kind: str = pick(rng, kinds)
    at, second = (int(number) for number in rng.integers(0, len(lines), 2))
    if kind == "drop":
        del lines[at]
    elif kind == "repeat":
        lines[at:at] = [lines[at]] * pick(rng, [1, 2, 30])
    elif kind == "join":
        lines[at : at + 2] = [pick(rng, ["", ",", "\r"]).join(lines[at : at + 2])]
    elif kind == "swap":
        lines[at], lines[second] = lines[second], lines[at]
    elif kind == "cut":
        lines[at] = lines[at][: int(rng.integers(len(lines[at]) + 1))]
    elif kind == "insert":
        lines[at:at] = [pick(rng, LINES)]
    elif kind == "blank":
        lines[at:at] = [""] * pick(rng, [1, 3, 700])
    else:
        delimiter = pick(rng, [";", "\t", ", ", " ", "|", "，"])
        for number in [at] if chance(rng, 0.5) else range(len(lines)):
            lines[number] = lines[number].replace(",", delimiter)
    return kind


def _header(rng: np.random.Generator, lines: list[str]) -> str:
    """Columns permuted, twice, misspelled, quoted, spaced, one too many or one too few."""
    names = lines[0].split(",")
    kinds = ["permute", "permute all", "twice", "misspell", "quote", "space", "more", "fewer"]
    kind: str = pick(rng, [*kinds, "none", "numbers", "label last"])
    at = int(rng.integers(len(names)))
    if kind == "permute":
        rng.shuffle(names)
    elif kind in ("permute all", "label last"):
        order = rng.permutation(785) if kind == "permute all" else np.roll(np.arange(785), -1)
        table = [line.split(",") for line in lines]
        table = [[row[k] for k in order] if len(row) == 785 else row for row in table]
        lines[1:], names = [",".join(row) for row in table[1:]], table[0]
    elif kind == "twice":
        names[at] = pick(rng, names)
    elif kind == "misspell":
        wrong = [
            "Label",
            "pixel784",
            "pixel00",
            "1x1",
            "",
            "pixel-1",
            "PIXEL3",
            "pixel",
            "x" * 9999,
        ]
        names[at] = pick(rng, wrong)
    elif kind == "quote":
        names = [pick(rng, ['"{}"', "{}", "'{}'"]).format(name) for name in names]
    elif kind == "space":
        names[at] = pick(rng, [" {}", "{} ", "\t{}", "\u00a0{}", "\ufeff{}"]).format(names[at])
    elif kind in ("more", "fewer"):
        names[at : at + 1] = [names[at], "id"] if kind == "more" else []
    elif kind == "numbers":
        names = [str(k) for k in range(785)]
    lines[0] = ",".join(names)
    if kind == "none":
        del lines[0]
    return f"header {kind}"


def _bomb(rng: np.random.Generator) -> tuple[bytes, str]:
    """A small gz that unpacks to megabytes of one thing."""
    head = ",".join(NAMES).encode() + b"\n"
    kinds = {
        "newlines": (b"\n", 1 << 18),
        "newlines with an end": (b"\n", 1 << 18),
        "short lines": (b"1,2\n", 1 << 18),
        "one line": (b"1", 48 << 20),
        "commas": (b",", 48 << 20),
        "NUL": (b"\0", 48 << 20),
        "rows": (b",".join([b"7"] * 785) + b"\n", 12_000),
        "bad rows": (b",".join([b"-7"] * 785) + b"\n", 4_000),
    }
    kind = pick(rng, kinds)
    piece, times = kinds[kind]
    tail = b"x\n" if kind.endswith("end") else b""
    body = (head if chance(rng, 0.8) else b"") + piece * times + tail
    return gzip.compress(body, 9, mtime=0), f"bomb of {kind}"


def _read(data: bytes, meanings: dict[bytes, bytes]) -> tuple[Rows | None, bool]:
    """The rows of a file as the policy for CSV has them, and whether this reading is sure."""
    plain = unpacked(data)
    if not plain:
        return None, True
    head, _, rest = plain.partition(b"\n")
    lines = rest.split(b"\n")
    longest = max(map(len, [head, *lines]))
    if longest > LONGEST_LINE - 1000:  # where exactly a line is too long is nobody's promise
        return None, longest > 3 * LONGEST_LINE
    try:
        text = head.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r")
    except UnicodeDecodeError:
        return None, True
    names = [name.strip(' "') for name in text.split(",")]
    while lines and not lines[-1].strip(b" \t\r"):
        lines.pop()
    if sorted(names) != sorted(NAMES) or not lines:
        return None, True
    order = None if names == NAMES else [names.index(name) for name in NAMES]
    known: dict[bytes, bytes | None] = dict(meanings) if order is None else {}
    for line in set(lines) - known.keys():
        known[line] = _judge(line.removesuffix(b"\r"), order)
    return [known[line] for line in lines], True


_NUMBER = re.compile(rb"\+?0*([0-9]{1,3})")
_QUOTED = re.compile(rb'"(.*)"')
_PLAIN = {str(value).encode(): value for value in range(256)}


def _judge(line: bytes, order: list[int] | None) -> bytes | None:
    """A line's label and pixels, or None if anything is wrong with it."""
    cells = line.split(b",")
    if len(cells) != len(NAMES) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line):
        return None
    try:
        line.decode()
    except UnicodeDecodeError:
        return None
    values = []
    for cell in cells:
        value = _PLAIN.get(cell, -1)
        if value < 0:
            bare = cell.strip(b" \t")
            bare = match[1].strip(b" \t") if (match := _QUOTED.fullmatch(bare)) else bare
            value = int(match[1]) if (match := _NUMBER.fullmatch(bare)) else -1
        if not 0 <= value <= 255:
            return None
        values.append(value)
    row = values if order is None else [values[k] for k in order]
    return bytes(row) if row[0] < 10 else None
