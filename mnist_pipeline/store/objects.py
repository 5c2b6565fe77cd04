"""The Store: the few operations that everything durable goes through, on disk or in a bucket.

Two of its promises carry the whole design. `put` is atomic: a reader sees the old bytes or the new
ones. `put_if_absent` is atomic and exclusive: of any number of racing writers exactly one wins.
Both are obstore's, on local disk, S3, GCS, Azure and in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, from_url

from mnist_pipeline.errors import ConfigError, IntegrityError, OutsideError
from mnist_pipeline.refs import Ref, sha256, sha256_of_file
from mnist_pipeline.store.disk import fsync, move
from mnist_pipeline.store.owner import Owner, abandoned_folders

SCHEMES = ("file", "memory", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
SCRATCH = ".scratch"


class ObjectMissingError(IntegrityError):
    """A key that should be in the store is not."""


class WorkspaceMissingError(OutsideError):
    """A reader was sent to a workspace that does not exist."""


@dataclasses.dataclass(frozen=True)
class ObjectInfo:
    """What a listing says about an object."""

    key: str
    size: int
    modified: datetime


class Store:
    """Objects under keys like `models/digits/versions/3/manifest.json`.

    Attributes:
        url: where it is, as the user wrote it.
        root: its folder, when it is on local disk, else None.
        called: what errors call it, and the flag that names it: `workspace`, `output`.
    """

    def __init__(
        self, backend: Any, url: str, root: Path | None = None, called: str = "workspace"
    ) -> None:
        self._backend = backend
        self.url = url
        self.root = root
        self.called = called

    @classmethod
    def open(cls, where: str | Path, *, writable: bool = True, called: str = "workspace") -> Store:
        """The store at a folder or a URL.

        Args:
            where: the folder or the URL.
            writable: whether it will be written; if so, a missing folder is made.
            called: see `Store.called`.

        Raises:
            ConfigError: a URL of a scheme that is not supported.
            OutsideError: the folder cannot be made or written, or the URL cannot be used as it is.
        """
        text = str(where)
        facts: dict[str, Any] = {called: text}
        scheme, separator, _ = text.partition("://")
        if not separator or scheme == "file":
            folder = Path(os.path.expanduser(text.removeprefix("file://")))  # noqa: PTH111 (never fails)
            return cls._open_folder(folder, text, writable, called)
        if scheme not in SCHEMES:
            raise ConfigError(
                f"the {called} cannot be on {scheme}://",
                **facts,
                remedy="use a folder or one of s3://, gs://, az://, abfs://, memory://",
            )
        if scheme == "memory":
            return cls(MemoryStore(), text, called=called)
        try:
            return cls(from_url(text), text, called=called)
        except (BaseError, ValueError) as error:
            raise OutsideError(
                f"the {called} cannot be opened",
                cause=str(error).partition("\n")[0],
                **facts,
                remedy="check the URL, and the account and credentials in the environment",
            ) from None

    @classmethod
    def _open_folder(cls, folder: Path, text: str, writable: bool, called: str) -> Store:
        facts: dict[str, Any] = {called: text}
        try:
            if writable:
                folder.mkdir(parents=True, exist_ok=True)
            root = folder.resolve(strict=True)
            if not root.is_dir():
                raise NotADirectoryError(20, "it is a file, not a folder")
            effective = os.access in os.supports_effective_ids
            if writable and not os.access(root, os.W_OK | os.X_OK, effective_ids=effective):
                raise PermissionError(13, "Permission denied", str(root))
            return cls(LocalStore(str(root)), text, root, called)
        except FileNotFoundError:
            raise WorkspaceMissingError(
                "there is no workspace",
                workspace=text,
                remedy="check --workspace; `mnist-pipeline train` makes one",
            ) from None
        except OSError as error:
            raise OutsideError(
                f"the {called} cannot be {'written' if writable else 'read'}",
                cause=error.strerror or str(error),
                remedy=f"choose another folder with --{called} or mend its permissions",
                **facts,
            ) from None

    def get(self, key: str) -> bytes:
        """The bytes under a key.

        Raises:
            ObjectMissingError: there is none.
        """
        with self._explained("read", key):
            data = bytes(obstore.get(self._backend, key).bytes())
        self._called("get", key)
        return data

    def put(self, key: str, data: bytes, *, rows: int | None = None) -> Ref:
        """Writes bytes under a key, replacing what was there, atomically."""
        with self._explained("write", key):
            obstore.put(self._backend, key, data)
            self._sync(key)
        self._called("put", key)
        return Ref(key, sha256(data), len(data), rows)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Writes bytes under a key unless it exists; says whether this call was the one."""
        try:
            with self._explained("write", key):
                obstore.put(self._backend, key, data, mode="create")
                self._sync(key)
            won = True
        except AlreadyExistsError:
            won = False
        self._called("put_if_absent", key)
        return won

    def exists(self, key: str) -> bool:
        """Whether there is an object under a key."""
        return self.info(key) is not None

    def info(self, key: str) -> ObjectInfo | None:
        """What a listing would say about an object, or None if there is none."""
        found: ObjectInfo | None = None
        with contextlib.suppress(ObjectMissingError), self._explained("look for", key):
            entry = obstore.head(self._backend, key)
            found = ObjectInfo(key, entry["size"], entry["last_modified"])
        self._called("info", key)
        return found

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """Every object whose key lies under `prefix/`, sorted by key."""
        with self._explained("list", prefix):
            found = [
                ObjectInfo(entry["path"], entry["size"], entry["last_modified"])
                for page in obstore.list(self._backend, prefix=prefix.rstrip("/") + "/")
                for entry in page
            ]
        self._called("list", prefix)
        return sorted(found, key=lambda info: info.key)

    def children(self, prefix: str) -> Sequence[str]:
        """The names right below `prefix/`, folders and objects alike, sorted."""
        with self._explained("list", prefix):
            listing = obstore.list_with_delimiter(self._backend, prefix.rstrip("/") + "/")
        self._called("list", prefix)
        keys = [*listing["common_prefixes"], *(entry["path"] for entry in listing["objects"])]
        return sorted(key.rstrip("/").rpartition("/")[2] for key in keys)

    def delete(self, key: str) -> None:
        """Removes an object; it is no error if it was gone already."""
        with contextlib.suppress(ObjectMissingError), self._explained("delete", key):
            obstore.delete(self._backend, key)
        self._called("delete", key)

    def upload(self, path: Path, key: str, *, rows: int | None = None) -> Ref:
        """Moves a finished local file under a key: a rename on disk, else a streamed upload."""
        ref = Ref(key, sha256_of_file(path), path.stat().st_size, rows)
        with self._explained("write", key):
            if self.root is not None:
                target = self.root / key
                fsync(path)
                move(path, target)
                fsync(target.parent)
            else:
                obstore.put(self._backend, key, path)
        self._called("put", key)
        return ref

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """A local file with the bytes under a key: the object itself on disk, else a scratch copy.

        Raises:
            ObjectMissingError: there is none.
        """
        if self.root is not None:
            path = self.root / key
            if not path.is_file():
                raise _missing(key)
            self._called("get", key)
            yield path
            return
        with self.scratch() as folder:
            path = folder / "object"
            with self._explained("read", key), path.open("wb") as file:
                for chunk in obstore.get(self._backend, key).stream():
                    file.write(chunk)
            self._called("get", key)
            yield path

    def verifies(self, ref: Ref) -> bool:
        """Whether the object a reference names exists and has exactly its bytes."""
        try:
            with self.local(ref.key) as path:
                return path.stat().st_size == ref.size and sha256_of_file(path) == ref.digest
        except (ObjectMissingError, ValueError):  # obstore's word for a key that cannot be one
            return False

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private local folder for files in the making, removed afterwards.

        In a local workspace it lies on the same disk, so that finished files are renamed into
        place; what processes of this host left behind when they were killed is swept away.
        """
        try:
            with self._scratch() as folder:
                yield folder
        except OSError as error:
            # Writers of files in the making (pyarrow's too) say in words that the disk is full.
            if _is_full(error):
                raise self._outside("write", SCRATCH, error) from error
            raise

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        if self.root is None:
            with tempfile.TemporaryDirectory(prefix="mnist-pipeline-") as folder:
                yield Path(folder)
            return
        base = self.root / SCRATCH
        with self._explained("write", SCRATCH):
            base.mkdir(parents=True, exist_ok=True)
            for abandoned in abandoned_folders(base):
                shutil.rmtree(abandoned, ignore_errors=True)
            own = base / f"{Owner.this()}.{secrets.token_hex(4)}"
            own.mkdir()
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def _called(self, operation: str, key: str) -> None:
        """Called after every operation: the place where tests cut the power."""

    def _sync(self, key: str) -> None:
        """Makes a written object outlive a power cut, where the store is a local folder."""
        if self.root is not None:
            with contextlib.suppress(FileNotFoundError):  # somebody has removed it already
                fsync(self.root / key)
                fsync((self.root / key).parent)

    @contextlib.contextmanager
    def _explained(self, verb: str, key: str) -> Iterator[None]:
        """Turns what the backend raises into this program's errors."""
        try:
            yield
        except AlreadyExistsError:
            raise
        except (NotFoundError, FileNotFoundError):
            raise _missing(key) from None
        except (BaseError, OSError) as error:
            raise self._outside(verb, key, error) from error

    def _outside(self, verb: str, key: str, error: Exception) -> OutsideError:
        full = _is_full(error)
        return OutsideError(
            "the disk is full" if full else f"the store cannot {verb} an object",
            key=key,
            cause=str(error).partition("\n")[0],
            remedy=f"free some space or choose another --{self.called}; nothing was published"
            if full
            else f"check that the {self.called} can be reached and written",
            transient=not full and self.root is None,
            **{self.called: self.url},
        )


def _is_full(error: Exception) -> bool:
    return "No space left" in str(error) or "quota exceeded" in str(error)


def _missing(key: str) -> ObjectMissingError:
    return ObjectMissingError(
        "an object is missing from the workspace",
        key=key,
        remedy="restore it from a backup; parts and results of stages are made anew by a run",
    )
