"""References and digests: one spelling, one digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline import refs
from mnist_pipeline.refs import (
    Ref,
    canonical_json,
    code_digest,
    digest_of,
    readable_json,
    sha256,
    sha256_of_file,
)

steady = settings(deadline=None, derandomize=True, database=None)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


def turned(value: object) -> object:
    """The same value with the keys of every mapping in reverse order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@steady
@given(values)
def test_json_in_both_spellings_reads_back(value: object) -> None:
    assert json.loads(canonical_json(value)) == value
    assert json.loads(readable_json(value)) == value


@steady
@given(values)
def test_the_order_of_keys_changes_no_digest(value: object) -> None:
    assert digest_of(turned(value)) == digest_of(value)


@steady
@given(values, values)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    # As JSON, 1 and 1.0 and True are three values; for Python they are equal.
    assert (digest_of(one) == digest_of(other)) == (canonical_json(one) == canonical_json(other))
    if one != other:
        assert digest_of(one) != digest_of(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1, float("-inf")]])
def test_numbers_that_json_lacks_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        readable_json(value)


def test_readable_json_keeps_the_order_and_ends_its_line() -> None:
    assert readable_json({"b": 1, "a": "é"}) == '{\n  "b": 1,\n  "a": "é"\n}\n'.encode()


@pytest.mark.parametrize("rows", [None, 0, 5])
def test_a_reference_reads_back(rows: int | None) -> None:
    ref = Ref("a/b.parquet", "00ff", 12, rows)
    assert Ref.from_json(json.loads(json.dumps(ref.to_json()))) == ref


def test_a_reference_without_rows_reads_as_none() -> None:
    assert Ref.from_json({"key": "k", "digest": "d", "size": 1}).rows is None


def test_file_and_bytes_have_the_same_digest(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    path = tmp_path / "x"
    path.write_bytes(data)
    assert sha256_of_file(path) == sha256(data) == hashlib.sha256(data).hexdigest()


def test_code_digest_changes_with_every_byte_and_name_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "__file__", str(tmp_path / "refs.py"))
    digest = code_digest.__wrapped__
    (tmp_path / "sub").mkdir()
    files = {"refs.py": "a", "sub/x.py": "b", "sub/p.toml": "c"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    seen = {digest()}
    for name, text in files.items():
        (tmp_path / name).write_text(text + "#")
        seen.add(digest())
        (tmp_path / name).write_text(text)
        (tmp_path / name).rename(tmp_path / f"other{Path(name).suffix}")
        seen.add(digest())
        (tmp_path / f"other{Path(name).suffix}").rename(tmp_path / name)
    assert len(seen) == 1 + 2 * len(files)


def test_code_digest_knows_where_a_name_ends_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = [{"a.py": "b", "x.py": ""}, {"a.py": "", "bx.py": ""}, {"a.py": "", "x.py": "b"}]
    seen = set()
    for number, files in enumerate(packages):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        monkeypatch.setattr(refs, "__file__", str(folder / "refs.py"))
        seen.add(code_digest.__wrapped__())
    assert len(seen) == len(packages)


def test_code_digest_is_not_moved_by_what_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "__file__", str(tmp_path / "refs.py"))
    (tmp_path / "refs.py").write_text("a")
    before = code_digest.__wrapped__()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "refs.pyc").write_bytes(b"\0")
    (tmp_path / "notes.txt").write_text("x")
    assert code_digest.__wrapped__() == before
