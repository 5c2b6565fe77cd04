"""The Store: the few operations that everything durable goes through, on disk or in a bucket.

Two of its promises carry the whole design. `put` is atomic: a reader sees the old bytes or the new
ones. `put_if_absent` is atomic and exclusive: of any number of racing writers exactly one wins.
Both are obstore's, on local disk, S3, GCS, Azure and in memory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from mnist_pipeline.refs import Ref, sha256, sha256_of_file
from mnist_pipeline.store.faults import ObjectChangedError as ObjectChangedError
from mnist_pipeline.store.faults import ObjectMissingError as ObjectMissingError
from mnist_pipeline.store.faults import WorkspaceMissingError as WorkspaceMissingError
from mnist_pipeline.store.faults import changed, explained, is_full, missing, no_store
from mnist_pipeline.store.folders import folder_at
from mnist_pipeline.store.info import ObjectInfo as ObjectInfo
from mnist_pipeline.store.places import backend_at, is_url
from mnist_pipeline.store.remote import BLOCK, RemoteFile
from mnist_pipeline.store.scratch import SCRATCH as SCRATCH
from mnist_pipeline.store.scratch import SECONDS_UNTIL_ABANDONED as SECONDS_UNTIL_ABANDONED
from mnist_pipeline.store.scratch import fsync, make_scratch, move, removed_afterwards
from mnist_pipeline.store.signed import put_signed

FOLDERS = (
    "parts",
    "datasets",
    "exams",
    "inputs",
    "quarantine",
    "stages",
    "runs",
    "models",
    SCRATCH,
)
"""What a workspace consists of."""


NOWHERE = ".nowhere"
"""A key that no store has; a server that has it is none."""


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
        self._speaks = False

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
        if is_url(text):
            return cls(backend_at(text, called), text, called=called)
        root = folder_at(text, called, writable=writable)
        return cls(LocalStore(str(root)), text, root, called)

    @property
    def place(self) -> str:
        """Its folder, absolute, or its URL: whoever works for it elsewhere finds it there."""
        return str(self.root) if self.root else self.url.rstrip("/")

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
                if self.root is None:
                    put_signed(self._backend, key, data, "create")
                else:
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
            found = ObjectInfo.of(obstore.head(self._backend, key))
        self._called("info", key)
        return found

    def list(self, prefix: str, *, deep: bool = True) -> Sequence[ObjectInfo]:
        """Every object whose key lies under `prefix/`, sorted by key.

        Args:
            prefix: a folder of keys; empty for all.
            deep: False for those right under it alone.
        """
        below = prefix.rstrip("/") + "/"
        with self._explained("list", prefix):
            if deep:
                pages = obstore.list(self._backend, prefix=below)
                found = [ObjectInfo.of(entry) for page in pages for entry in page]
            else:
                listing = obstore.list_with_delimiter(self._backend, below)
                found = [ObjectInfo.of(entry) for entry in listing["objects"]]
            self._check_silence(found)
        self._called("list", prefix)
        return sorted(found, key=lambda info: info.key)

    def children(self, prefix: str) -> Sequence[str]:
        """The names right below `prefix/`, folders and objects alike, sorted."""
        with self._explained("list", prefix):
            listing = obstore.list_with_delimiter(self._backend, prefix.rstrip("/") + "/")
            keys = [*listing["common_prefixes"], *(entry["path"] for entry in listing["objects"])]
            self._check_silence(keys)
        self._called("list", prefix)
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
                fsync(path)
                move(path, self.root / key)
            else:
                put_signed(self._backend, key, path, "overwrite")
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
                raise missing(key, self.called)
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

    def fetch(self, info: ObjectInfo, path: Path) -> None:
        """Writes the very object that a listing showed into a local file.

        Raises:
            ObjectMissingError: it is gone.
            ObjectChangedError: another one lies there now; nothing of it was written.
        """
        with self._explained("read", info.key):
            answer = obstore.get(self._backend, info.key)
            if ObjectInfo.of(answer.meta).stamp != info.stamp:
                raise changed(info.key, self.called)
            with path.open("wb") as file:
                for chunk in answer.stream():
                    file.write(chunk)
        self._called("get", info.key)

    @contextlib.contextmanager
    def reader(self, key: str, *, block: int = BLOCK) -> Iterator[Path | RemoteFile]:
        """What a few places of an object can be read from: its file on disk, else a `RemoteFile`.

        Args:
            key: which object.
            block: bytes fetched at once, where it is not on disk.

        Raises:
            ObjectMissingError: there is none.
            ObjectChangedError: from reading, once the object was replaced.
        """
        if self.root is not None:
            with self.local(key) as path:
                yield path
            return
        with self._explained("read", key):
            head = obstore.head(self._backend, key)
        with self.scratch() as folder, (folder / "object").open("w+b") as copy:
            tag = head["e_tag"]
            fetch = functools.partial(self._range, key, tag)
            yield RemoteFile(head["size"], tag or str(head["last_modified"]), fetch, copy, block)

    def _range(self, key: str, tag: str | None, start: int, stop: int) -> bytes:
        """Some bytes of an object, if it still is the one with this tag."""
        with self._explained("read", key):
            options: Any = {"range": (start, stop), "if_match": tag}
            data = bytes(obstore.get(self._backend, key, options=options).bytes())
        self._called("get", key)
        return data

    def digest(self, key: str) -> str:
        """The sha256 of an object's bytes, as hex, in bounded memory.

        Raises:
            ObjectMissingError: there is none.
        """
        total = hashlib.sha256()
        with self._explained("read", key):
            for chunk in obstore.get(self._backend, key).stream():
                total.update(chunk)
        self._called("get", key)
        return total.hexdigest()

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
        with self._explained("write", SCRATCH):
            own = make_scratch(self.root)
        try:
            with removed_afterwards(own):
                yield own
        except OSError as error:
            # Writers of files in the making (pyarrow's too) say in words that the disk is full.
            if not is_full(error):
                raise
            with self._explained("write", SCRATCH):
                raise

    def _check_silence(self, found: Sequence[object]) -> None:
        """Doubts an empty listing of a bucket: a web page, too, lists no objects."""
        if self.root is None and not found and not self._speaks:
            with contextlib.suppress(FileNotFoundError):
                obstore.head(self._backend, NOWHERE)
                raise no_store(self.called, self.url)
            self._speaks = True

    def _called(self, operation: str, key: str) -> None:
        """Called after every operation: the place where tests cut the power."""

    def _sync(self, key: str) -> None:
        """Makes a written object outlive a power cut, where the store is a local folder."""
        if self.root is not None:
            with contextlib.suppress(FileNotFoundError):  # somebody has removed it already
                fsync(self.root / key)
                fsync((self.root / key).parent)

    def _explained(self, verb: str, key: str) -> AbstractContextManager[None]:
        """Turns what the backend raises into this program's errors."""
        return explained(verb, key, self.called, self.url, remote=self.root is None)
