"""Canonical Parquet: what goes in comes out, and a damaged file never gives wrong pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import (
    ROW_GROUP,
    CanonicalWriter,
    Rows,
    bytes_column,
    bytes_view,
    canonical_schema,
    read_rows,
    read_table,
    write_table,
)
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.store.objects import Store

steady = settings(deadline=None, derandomize=True, database=None)


SMALL = ImageContract(2, 2)
COLUMNS = ["row_id", "label", "image", "digest", "source", "place"]
Contents = dict[str, list[Any]]


def cells(path: Path, contract: ImageContract = SMALL, columns: list[str] = COLUMNS) -> Contents:
    """Every cell of some columns of a canonical file."""
    batches = list(read_rows(path, contract, columns=columns))
    return {
        name: list(itertools.chain.from_iterable(batch[name].to_pylist() for batch in batches))
        for name in columns
    }


def contents(blocks: list[Rows]) -> Contents:
    return {
        "row_id": [int(i) for rows in blocks for i in rows.row_ids],
        "label": [int(label) for rows in blocks for label in rows.labels],
        "image": [bytes(image) for rows in blocks for image in rows.images],
        "digest": [bytes(digest) for rows in blocks for digest in rows.digests],
        "source": [rows.source for rows in blocks for _ in rows.images],
        "place": [int(place) for rows in blocks for place in rows.places],
    }


# --- columns of bytes ---


@steady
@given(st.integers(0, 6).flatmap(lambda n: arrays(np.uint8, (n, 3))), st.data())
def test_a_column_of_bytes_and_every_slice_of_it_read_back(images: np.ndarray, data) -> None:
    column = bytes_column(images)
    assert column.type == pa.binary(3)
    assert column.to_pylist() == [bytes(row) for row in images]
    start = data.draw(st.integers(0, len(images)))
    stop = data.draw(st.integers(start, len(images)))
    view = bytes_view(column[start:stop])
    assert view.shape == (stop - start, 3)
    assert np.array_equal(view, images[start:stop])


def test_a_column_of_bytes_shares_its_memory_and_takes_any_layout() -> None:
    images = np.arange(12, dtype=np.uint8).reshape(4, 3)
    assert np.shares_memory(bytes_view(bytes_column(images)), images)
    for other in (images[::2], images[:, ::2], np.asfortranarray(images), images[::-1]):
        assert np.array_equal(bytes_view(bytes_column(other)), other)


# --- round trip ---


@pytest.mark.parametrize("blocks", [[], [0], [1], [5, 3], [0, 4, 0], [ROW_GROUP + 1, 7]])
def test_what_is_written_is_read(tmp_path: Path, make_part: Any, blocks: list[int]) -> None:
    path = tmp_path / "part.parquet"
    written = contents(make_part(path, SMALL, blocks))
    assert len(written["label"]) == sum(blocks)
    assert cells(path) == written
    for name in COLUMNS:
        assert cells(path, columns=[name]) == {name: written[name]}


def test_unlabelled_rows_have_no_label_column(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    images = np.eye(4, dtype=np.uint8)
    digests = np.zeros((4, 16), np.uint8)
    with CanonicalWriter(path, SMALL, labelled=False) as writer:
        writer.write(Rows(np.arange(4), None, images, digests, np.arange(4), "a.csv"))
    (batch,) = read_rows(path, SMALL, columns=["image", "place"])
    assert np.array_equal(bytes_view(batch["image"]), images)
    assert "label" not in pq.read_schema(path).names


def test_the_layout_is_the_one_that_reads_fast(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    make_part(path, SMALL, [2 * ROW_GROUP + 1])
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [ROW_GROUP, ROW_GROUP, 1]
    image = groups[0].column(2)
    assert (image.path_in_schema, image.physical_type) == ("image", "FIXED_LEN_BYTE_ARRAY")
    assert image.compression == "LZ4"
    assert not image.is_stats_set
    assert not image.has_dictionary_page
    assert file.schema_arrow.equals(canonical_schema(SMALL, labelled=True))


def test_the_same_rows_are_the_same_bytes(tmp_path: Path, make_part: Any) -> None:
    for name in ("a", "b"):
        make_part(tmp_path / name, SMALL, [50, 3])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_another_contract_is_refused(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    make_part(path, SMALL, [3])
    with pytest.raises(IntegrityError, match="another contract") as caught:
        list(read_rows(path, ImageContract(2, 2, version=2), columns=["image"]))
    assert caught.value.facts["found"] == SMALL.fingerprint[:12]


def test_a_parquet_file_that_is_none_of_ours_is_refused(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    pq.write_table(pa.table({"image": [b"1234"]}), path)
    with pytest.raises(IntegrityError, match="another contract") as caught:
        list(read_rows(path, SMALL, columns=["image"]))
    assert caught.value.facts["found"] == "none"
    metadata = {"mnist_pipeline.contract": SMALL.fingerprint}
    forged = pa.table({"image": ["1234"]}).replace_schema_metadata(metadata)
    pq.write_table(forged, path)
    with pytest.raises(IntegrityError, match="damaged"):
        list(read_rows(path, SMALL, columns=["image"]))


@pytest.mark.parametrize("what", ["missing", "folder", "empty", "text"])
def test_what_is_no_file_is_an_integrity_error(tmp_path: Path, what: str) -> None:
    path = tmp_path / "part.parquet"
    if what == "folder":
        path.mkdir()
    elif what != "missing":
        path.write_bytes({"empty": b"", "text": b"PAR1 once upon a time"}[what])
    for reader in (
        lambda: list(read_rows(path, SMALL, columns=["image"])),
        lambda: read_table(path),
    ):
        with pytest.raises(IntegrityError) as caught:
            reader()
        assert caught.value.facts["file"] == "part.parquet"


# --- damage ---


def verdicts(path: Path, damaged: list[bytes], reader: Callable[[Path], object]) -> tuple[int, int]:
    """How often a damaged copy was refused, and how often it was read as if it were whole."""
    expected = reader(path)
    copy = path.with_name("copy.parquet")
    refused = read_as_whole = 0
    for data in damaged:
        copy.write_bytes(data)
        try:
            found = reader(copy)
        except IntegrityError:
            refused += 1
        else:
            assert found == expected, "read in silence, and wrong"
            read_as_whole += 1
    return refused, read_as_whole


def flipped(data: bytes, places: range, masks: tuple[int, ...]) -> list[bytes]:
    return [
        data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :] for at in places for mask in masks
    ]


def test_a_flipped_byte_anywhere_is_refused_or_harmless(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    make_part(path, SMALL, [5, 4])
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    damaged = flipped(data, range(footer), (0xFF,))
    # A single bit of a row group's count makes it smaller: no checksum would notice.
    damaged += flipped(data, range(footer, len(data)), (0x02,))
    refused, harmless = verdicts(path, damaged, cells)
    assert refused > harmless


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    make_part(path, SMALL, [5, 4])
    data = path.read_bytes()
    masks = tuple(1 << bit for bit in range(8))
    refused, harmless = verdicts(path, flipped(data, range(len(data)), masks), cells)
    assert refused > harmless


def test_a_flipped_bit_among_the_pixels_is_always_refused(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    contract = ImageContract()
    make_part(path, contract, [40])
    data = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    header = 100  # bytes of thrift before the page's own bytes, at most
    end = column.data_page_offset + column.total_compressed_size
    places = range(column.data_page_offset + header, end, 331)

    def images(file: Path) -> Contents:
        return cells(file, contract, ["image"])

    refused, harmless = verdicts(path, flipped(data, places, (1, 0x80)), images)
    assert (refused, harmless) == (2 * len(places), 0)
    assert refused > 100


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, make_part: Any) -> None:
    path = tmp_path / "part.parquet"
    make_part(path, SMALL, [5, 4])
    data = path.read_bytes()
    cut = [data[:length] for length in range(len(data))]
    assert verdicts(path, cut, cells) == (len(data), 0)
    assert verdicts(path, [data + b"\0", data + data[:9]], cells) == (2, 0)


def test_a_writer_that_fails_leaves_nothing_in_the_store(tmp_path: Path, make_part: Any) -> None:
    store = Store.open(tmp_path / "workspace")
    (rows,) = make_part(tmp_path / "other.parquet", SMALL, [5])

    def ingest() -> None:
        with store.scratch() as folder:
            path = folder / "part.parquet"
            with CanonicalWriter(path, SMALL, labelled=True) as writer:
                writer.write(rows)
                raise RuntimeError("the source broke off")
            store.upload(path, "parts/k/part.parquet", rows=writer.rows)

    with pytest.raises(RuntimeError, match="broke off"):
        ingest()
    assert store.list("") == []
    assert not list((tmp_path / "workspace").rglob("*.parquet"))


# --- small tables ---

TABLE = pa.table({"a": pa.array([1, 2, None], pa.int64()), "b": ["x", "é", ""]})


def test_a_small_table_reads_back(tmp_path: Path) -> None:
    write_table(tmp_path / "t", TABLE)
    assert read_table(tmp_path / "t").equals(TABLE)
    assert read_table(tmp_path / "t", TABLE.schema).equals(TABLE)


def test_a_small_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "t", TABLE)
    with pytest.raises(IntegrityError, match="damaged"):
        read_table(tmp_path / "t", pa.schema({"a": pa.int32(), "b": pa.string()}))


def test_a_damaged_small_table_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_table(path, TABLE)
    data = path.read_bytes()

    def reader(file: Path) -> Contents:
        return read_table(file, TABLE.schema).to_pydict()

    refused, harmless = verdicts(path, flipped(data, range(len(data)), (0x10,)), reader)
    assert refused > harmless
    cut = [data[:length] for length in range(0, len(data), 7)]
    assert verdicts(path, cut, reader) == (len(cut), 0)
