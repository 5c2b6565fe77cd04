"""Files as users name them: paths, folders, patterns, plain or gzipped."""

from __future__ import annotations

import dataclasses
import glob
import gzip
import zlib
from pathlib import Path

from mnist_pipeline.contract.records import (
    NothingThereError,
    Role,
    identity_of_files,
    unreadable,
)
from mnist_pipeline.errors import DataError

BLOCK_ROWS = 8192
"""Rows a block of records: one row group of the canonical file."""


@dataclasses.dataclass(frozen=True)
class FilePart:
    """An input that is one file; a source adds how it is read."""

    path: Path
    role: Role = dataclasses.field(default="train", kw_only=True)

    @property
    def name(self) -> str:
        return base_name(self.path)

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def identity(self) -> str:
        return identity_of_files(self.paths)


def path_of(text: str) -> Path:
    """The path a user wrote, `~` expanded.

    Raises:
        DataError: it cannot be a path.
    """
    try:
        if "\0" in text:
            raise ValueError("it contains a NUL character")
        return Path(text).expanduser()
    except (RuntimeError, ValueError) as error:
        raise DataError(
            f"{text!r} cannot be a path", cause=str(error), remedy="check the spelling"
        ) from None


def base_name(path: Path) -> str:
    """A file's name without folders, as text: bytes that are no UTF-8 become �."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def files_at(pattern: str, suffixes: tuple[str, ...]) -> list[Path]:
    """What a path names: itself, a folder's files with one of `suffixes`, or a pattern's matches.

    Raises:
        NothingThereError: nothing is there.
        DataError: something is there that cannot be read twice as a file.
    """
    path = path_of(pattern)
    try:
        if path.is_dir():
            found = [p for p in path.iterdir() if p.name.endswith(suffixes) and p.name[0] != "."]
        elif path.exists() or not glob.has_magic(str(path)):
            path.stat()
            found = [path]
        else:  # Path.glob would also match hidden files
            found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
            found = [file for file in found if not file.is_dir()]
    except OSError as error:
        raise unreadable(path, error) from None
    if not found:
        expected = f"files named *{' or *'.join(suffixes)}" if path.is_dir() else "a match"
        remedy = "check the path; `**` in a pattern searches sub-folders"
        raise NothingThereError(
            f"{base_name(path) or path} leads to no file",
            file=str(path),
            expected=expected,
            remedy=remedy,
        )
    for file in found:
        if file.exists() and not file.is_file():
            what = f"is {'a directory' if file.is_dir() else 'a pipe'}, not a file"
            raise DataError(
                f"{base_name(file)} {what}",
                file=str(file),
                remedy="name the files in it, or copy what it delivers into a file",
            )
    return sorted(found)


class PlainOrGzip:
    """A file read from front to back, unpacked where its first bytes (not its name) say gzip.

    Every error names the file. `size` is the number of its bytes as stored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._raw = path.open("rb")
            self.size = path.stat().st_size
            self.gzipped = self._raw.peek(2)[:2] == b"\x1f\x8b"
        except OSError as error:
            raise unreadable(path, error) from None
        self._unpacked = gzip.GzipFile(fileobj=self._raw) if self.gzipped else self._raw

    def __enter__(self) -> PlainOrGzip:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, size: int) -> bytes:
        """The next `size` unpacked bytes; fewer only at the end of the file."""
        try:
            return self._unpacked.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self.path.name} is a damaged gzip file",
                file=str(self.path),
                cause=str(error),
                remedy="fetch the file again; `gzip -t` tells whether a copy is whole",
            ) from None
        except OSError as error:
            raise unreadable(self.path, error) from None
