"""An overlay: a workspace to work in that shows another one, and never changes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from obstore.store import LocalStore

from mnist_pipeline.store.objects import ObjectInfo, ObjectMissingError, Store
from mnist_pipeline.store.remote import BLOCK, RemoteFile


class Overlay(Store):
    """Reads what was written to it, else what lies in the store below; writes to its own folder.

    An object of the store below can be covered, not deleted.
    """

    def __init__(self, below: Store, folder: Path) -> None:
        root = folder.resolve()
        super().__init__(LocalStore(str(root)), str(root), root, "scratch folder")
        self.below = below

    def get(self, key: str) -> bytes:
        try:
            return super().get(key)
        except ObjectMissingError:
            return self.below.get(key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return not self.below.exists(key) and super().put_if_absent(key, data)

    def info(self, key: str) -> ObjectInfo | None:
        return super().info(key) or self.below.info(key)

    def list(self, prefix: str, *, deep: bool = True) -> Sequence[ObjectInfo]:
        found = [*self.below.list(prefix, deep=deep), *super().list(prefix, deep=deep)]
        by_key = {info.key: info for info in found}
        return [by_key[key] for key in sorted(by_key)]

    def children(self, prefix: str) -> Sequence[str]:
        return sorted({*self.below.children(prefix), *super().children(prefix)})

    def digest(self, key: str) -> str:
        return super().digest(key) if self._covers(key) else self.below.digest(key)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with super().local(key) if self._covers(key) else self.below.local(key) as path:
            yield path

    @contextmanager
    def reader(self, key: str, *, block: int = BLOCK) -> Iterator[Path | RemoteFile]:
        above = self._covers(key)
        with super().reader(key) if above else self.below.reader(key, block=block) as file:
            yield file

    def _covers(self, key: str) -> bool:
        return super().info(key) is not None
