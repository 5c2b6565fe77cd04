"""The head of a table: its first rows, its schema held, damage told."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mnist_pipeline.data.parquet import read_head, write_table
from mnist_pipeline.errors import IntegrityError

SCHEMA = pa.schema({"n": pa.int64()})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table of ten rows."""
    write_table(tmp_path / "table.parquet", pa.table({"n": range(10)}, schema=SCHEMA))
    return tmp_path / "table.parquet"


@pytest.mark.parametrize(("rows", "found"), [(3, 3), (10, 10), (99, 10)])
def test_the_first_rows_come_and_no_more(path: Path, rows: int, found: int) -> None:
    assert read_head(path, SCHEMA, rows)["n"].to_pylist() == list(range(found))


def test_a_table_without_rows_has_an_empty_head(tmp_path: Path) -> None:
    write_table(tmp_path / "empty.parquet", SCHEMA.empty_table())
    assert read_head(tmp_path / "empty.parquet", SCHEMA, 5).schema == SCHEMA


def test_other_columns_and_damage_are_told(path: Path) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        read_head(path, pa.schema({"m": pa.int64()}), 3)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="damaged"):
        read_head(path, SCHEMA, 3)
