"""What is known of an input's files, so that what has not changed is not read again every night.

One small record an input, `inputs/<digest of what and where>.json`. It only saves work: a record
that is missing or damaged means that the files are read again.
"""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_pipeline.errors import DataError
from mnist_pipeline.refs import code_digest, digest_of, readable_json
from mnist_pipeline.store.objects import ObjectMissingError, Store

INPUTS = "inputs"
SETTLED_NS = 2_000_000_000
"""Some file systems tell times to two seconds only: what was written in the two seconds before it
was read may have been written again since, and nobody could tell."""

FileStamp = tuple[int, int | str]
"""Size in bytes, and the time of the last change in ns or the tag of an object in a bucket."""


class UnsettledError(DataError):
    """Somebody is still writing the file."""


@dataclasses.dataclass(frozen=True)
class InputRecord:
    """An input as it was when somebody last looked.

    Attributes:
        plugin, options: the source it belongs to, and those options that change what is read.
        paths: its files, absolute, or their URLs.
        contract: the fingerprint of what its rows have to obey.
        key: the key of its part; empty if its bytes could not be read.
        files: size and time, or tag, of each file before it was read.
        looked: when that was, in ns since 1970.
        objects: the part's objects in the store and how a listing describes them; none if there is
            no part.
        fault: why the file is quarantined whole, as `PipelineError.to_json`; None if it is not.
        code: the digest of the code that found the fault.
        since: when it was first found, UTC; empty without one.
    """

    plugin: str
    options: Mapping[str, Any]
    paths: tuple[str, ...]
    contract: str
    key: str
    files: tuple[FileStamp, ...]
    looked: int
    objects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fault: Mapping[str, Any] | None = None
    code: str = ""
    since: str = ""

    @property
    def name(self) -> str:
        """The store key of the record."""
        return record_name(self.plugin, self.options, self.paths, self.contract)

    def still_holds(self, files: Sequence[FileStamp] | None) -> bool:
        """Whether the files are, by size and time or tag, those that were read."""
        times = [stamp for _, stamp in self.files if isinstance(stamp, int)]
        settled = all(changed < self.looked - SETTLED_NS for changed in times)
        return bool(self.key) and self.files == files and settled

    def unreadable(self, key: str) -> Mapping[str, Any] | None:
        """Why this very code could not read the bytes of that part key before; None if it may."""
        hopeless = not self.objects and (self.key, self.code) == (key, code_digest())
        return self.fault if hopeless else None

    def to_bytes(self) -> bytes:
        return readable_json(dataclasses.asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> InputRecord:
        """What `to_bytes` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        fields = json.loads(data)
        fields["paths"] = tuple(fields["paths"])
        fields["files"] = tuple((size, changed) for size, changed in fields["files"])
        return cls(**fields)


def record_name(
    plugin: str, options: Mapping[str, Any], paths: Sequence[str], contract: str
) -> str:
    """The store key of the record of an input."""
    what = {"plugin": plugin, "options": dict(options), "paths": list(paths), "contract": contract}
    return f"{INPUTS}/{digest_of(what)}.json"


def stamps_of(paths: Sequence[Path]) -> tuple[FileStamp, ...] | None:
    """Size and time of each file; None where that says nothing: a folder, or no files at all."""
    try:
        stats = [path.stat() for path in paths]
    except OSError:
        return None
    if not stats or not all(stat.S_ISREG(each.st_mode) for each in stats):
        return None
    return tuple((each.st_size, each.st_mtime_ns) for each in stats)


def objects_below(store: Store, prefix: str, keys: Sequence[str]) -> dict[str, str]:
    """How a listing describes some objects below `prefix/`: it changes when they do."""
    listed = {info.key: f"{info.size} {info.modified.isoformat()}" for info in store.list(prefix)}
    return {key: listed[key] for key in keys if key in listed}


def read_record(store: Store, name: str) -> InputRecord | None:
    """A record, or None if there is none, or none that can be used."""
    try:
        return InputRecord.from_bytes(store.get(name))
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return None


def write_record(store: Store, record: InputRecord) -> None:
    """Keeps a record in place of the one before."""
    store.put(record.name, record.to_bytes())


def quarantined(store: Store) -> Iterator[InputRecord]:
    """The records of all files that are quarantined whole, by path."""
    records = (read_record(store, info.key) for info in store.list(INPUTS))
    yield from sorted(
        (record for record in records if record and record.fault), key=lambda record: record.paths
    )
