"""Outputs: files of answers, each of which says in its footer what it was made of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.data.drift import Traits
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.score.tally import Tally
from mnist_pipeline.store.objects import ObjectMissingError, Store
from mnist_pipeline.store.remote import RemoteFile

FORMAT = 1
MARKER = ".mnist-pipeline-scores"
FOOTER = 1 << 16
"""Bytes at the end of a file of answers among which its record is."""
_METADATA = b"mnist_pipeline.score"
_ROW_GROUP = 1 << 17


@dataclasses.dataclass(frozen=True)
class Record:
    """What a file of answers says of itself.

    Attributes:
        key: sha256 over model, input and options: the same key means the same answers.
        model: `name`, `version`, `digest` and `contract` of what answered.
        input: `file` (relative path), `digest` (sha256 of its bytes), `rows`.
        options: those that decide the content.
        part: (number, of) for one of several slices; (0, 1) for a whole file.
        tally: the counts.
        traits: what its images and answers are like, for drift.
    """

    key: str
    model: Mapping[str, Any]
    input: Mapping[str, Any]
    options: Mapping[str, Any]
    part: tuple[int, int]
    tally: Tally
    traits: Traits

    def to_bytes(self) -> bytes:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        counts = {"tally": self.tally.to_json(), "traits": self.traits.to_json()}
        data = {"format": FORMAT, **fields, **counts}
        return json.dumps(data, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        fields = json.loads(data)
        if fields.pop("format") != FORMAT:
            raise ValueError("unknown format")
        fields["part"] = tuple(fields["part"])
        fields["tally"] = Tally.from_json(fields["tally"])
        fields["traits"] = Traits.from_json(fields["traits"])
        return cls(**fields)


class AnswerWriter:
    """Writes batches of answers to one Parquet file; `finish` gives it its record.

    Use it as a context manager; a file that was not finished has no record and counts for nothing.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=1, write_page_checksum=True
        )
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends a batch; small ones wait until they make a row group."""
        self._waiting.append(batch)
        self._waiting_rows += len(batch)
        if self._waiting_rows >= _ROW_GROUP:
            self._flush()

    def finish(self, record: Record) -> None:
        """Puts the record into the footer."""
        self._flush()
        self._writer.add_key_value_metadata({_METADATA: record.to_bytes()})

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=_ROW_GROUP)
            self._waiting, self._waiting_rows = [], 0

    def __enter__(self) -> AnswerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()


def record_of(source: Path | RemoteFile) -> Record | None:
    """What a file of answers says of itself; None if it is none, or is damaged."""
    try:
        with pq.ParquetFile(source) as file:
            record = Record.from_bytes(file.metadata.metadata[_METADATA])
            return record if file.metadata.num_rows == record.tally.rows else None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def stored_record(store: Store, key: str) -> Record | None:
    """What the file of answers under a key of the output says; None if there is none."""
    try:
        with store.reader(key, block=FOOTER) as source:
            return record_of(source)
    except ObjectMissingError:
        return None


def record_at(where: str) -> Record | None:
    """What the file of answers at a path or URL says; None if it is none, or is damaged.

    Raises:
        OSError: there is no such file, or it cannot be read.
        OutsideError: the URL cannot be reached.
    """
    if "://" in where:
        scheme, _, rest = where.partition("://")
        bucket, _, key = rest.partition("/")
        store = Store.open(f"{scheme}://{bucket}", writable=False, called="file")
        if not store.exists(key):
            raise FileNotFoundError(2, "there is no such object")
        return stored_record(store, key)
    path = Path(where)
    path.stat()
    return record_of(path)


def is_foreign(store: Store, key: str) -> bool:
    """Whether a whole Parquet file that scoring did not write lies under a key of the output."""
    try:
        with store.reader(key, block=FOOTER) as source, pq.ParquetFile(source) as file:
            return _METADATA not in (file.metadata.metadata or {})
    except (ObjectMissingError, pa.ArrowException, OSError):
        return False


def open_output(where: str) -> Store:
    """The output folder or URL, ready to be written.

    Raises:
        ConfigError: it holds something else than answers.
        OutsideError: it cannot be written.
    """
    store = Store.open(where, called="output")
    if not store.exists(MARKER):
        others = [name for name in store.children("") if name != MARKER]
        # Who comes at the same moment puts the marker before anything else: look again.
        if others and not store.exists(MARKER):
            raise ConfigError(
                f"{where} holds something else than answers",
                found=", ".join(others[:5]) + (", …" if len(others) > 5 else ""),
                remedy="name a new folder with --output, or empty this one",
            )
        store.put_if_absent(MARKER, b"Answers of `mnist-pipeline score`.\n")
    return store
