"""A file at a URL: the same bytes wherever it is read, each of them fetched once."""

from __future__ import annotations

import io
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_pipeline.store.objects import ObjectChangedError, ObjectMissingError, Store
from mnist_pipeline.store.remote import RemoteFile


class Far:
    """Bytes that know which of them were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fetched: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> bytes:
        assert 0 <= start < stop <= len(self.data)
        self.fetched.append((start, stop))
        return self.data[start:stop]


@given(
    size=st.integers(0, 300),
    block=st.integers(1, 64),
    reads=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 100)), max_size=12),
)
def test_it_reads_as_the_bytes_do_and_fetches_none_twice(
    size: int, block: int, reads: list[tuple[int, int]]
) -> None:
    far = Far(np.random.default_rng(size).bytes(size))
    with tempfile.TemporaryFile() as copy:
        file, near = RemoteFile(size, "stamp", far, copy, block), io.BytesIO(far.data)
        for start, count in reads:
            assert file.seek(start) == near.seek(start)
            assert file.read(count) == near.read(count)
            assert file.tell() == near.tell()
        assert file.seek(-min(size, 3), io.SEEK_END) == near.seek(-min(size, 3), io.SEEK_END)
        assert file.read() == near.read()
    fetched = [at for start, stop in far.fetched for at in range(start, stop)]
    assert len(fetched) == len(set(fetched))
    wanted = {
        at // block for start, count in reads for at in range(start, min(start + count, size))
    }
    wanted |= {at // block for at in range(max(0, size - 3), size)}
    assert {at // block for at in fetched} == wanted


def test_neighbours_come_together() -> None:
    far = Far(bytes(100))
    with tempfile.TemporaryFile() as copy:
        file = RemoteFile(100, "stamp", far, copy, 10)
        file.seek(45)
        file.read(1)
        file.seek(0)
        assert len(file.read()) == 100
    assert far.fetched == [(40, 50), (0, 40), (50, 100)]


def test_a_row_group_in_ten_is_a_tenth_of_the_bytes() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (5000, 784), np.uint8)
    table = pa.table({"image": pa.array([row.tobytes() for row in rows], pa.binary(784))})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=500, use_dictionary=False)
    far = Far(buffer.getvalue())
    with tempfile.TemporaryFile() as copy:
        remote = RemoteFile(len(far.data), "stamp", far, copy, 1 << 14)
        with pq.ParquetFile(remote, buffer_size=1 << 12) as file:
            (batch,) = file.iter_batches(500, row_groups=[7], use_threads=False)
    assert batch.column("image").to_pylist() == table["image"][3500:4000].to_pylist()
    assert sum(stop - start for start, stop in far.fetched) < len(far.data) * 0.2


def test_a_reader_of_a_store(store: Store) -> None:
    store.put("key", bytes(range(100)))
    with store.reader("key", block=8) as source:
        if store.root is not None:
            assert source == store.root / "key"
            return
        assert isinstance(source, RemoteFile)
        source.seek(50)
        assert source.read(2) == bytes([50, 51])
        store.put("key", bytes(100))
        assert source.read(2) == bytes([52, 53])  # that block was here already
        with pytest.raises(ObjectChangedError):
            source.read(20)
    with pytest.raises(ObjectMissingError), store.reader("nothing"):
        pass


def test_the_digest_of_an_object(store: Store) -> None:
    data = np.random.default_rng(0).bytes(100_000)
    assert store.put("key", data).digest == store.digest("key")
    with pytest.raises(ObjectMissingError):
        store.digest("nothing")
