"""Objects at URLs as files that can be read anywhere: only what is read comes over the network."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

BLOCK = 1 << 22
"""Bytes a request: enough that its latency does not matter, and few to fetch in vain."""


class RemoteFile(io.RawIOBase):
    """An object as a file: blocks are fetched when they are read, once, into a scratch copy.

    A reader of one row group in a hundred fetches a hundredth of the object, however it jumps
    about in it, and memory holds none of it.

    Args:
        size: bytes the object has.
        stamp: what every write of the object changes.
        fetch: its bytes from a start to a stop.
        copy: an empty scratch file; what was not fetched stays a hole in it.
        block: bytes fetched at once.
    """

    def __init__(
        self,
        size: int,
        stamp: str,
        fetch: Callable[[int, int], bytes],
        copy: BinaryIO,
        block: int = BLOCK,
    ) -> None:
        super().__init__()
        self.stamp = stamp
        self._size, self._fetch, self._copy, self._block = size, fetch, copy, block
        self._there: set[int] = set()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start, stop = self._at, min(self._at + len(buffer), self._size)
        if start >= stop:
            return 0
        self._want(start // self._block, -(-stop // self._block))
        self._copy.seek(start)
        view = memoryview(buffer)[: stop - start]
        view[:] = self._copy.read(stop - start)
        self._at = stop
        return stop - start

    def _want(self, first: int, last: int) -> None:
        """Fetches the blocks from `first` up to `last` that are missing, neighbours together."""
        missing = [block for block in range(first, last) if block not in self._there]
        while missing:
            run = 1
            while run < len(missing) and missing[run] == missing[0] + run:
                run += 1
            start = missing[0] * self._block
            stop = min(start + run * self._block, self._size)
            self._copy.seek(start)
            self._copy.write(self._fetch(start, stop))
            self._there.update(missing[:run])
            del missing[:run]
