"""Many calls of a store at once: a bucket answers each after a while, however small it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mnist_pipeline.store.objects import Store

AT_ONCE = 16
"""Requests under way to a bucket; it answers as many within the time of one."""

T = TypeVar("T")
R = TypeVar("R")


def together(store: Store, call: Callable[[T], R], over: Iterable[T]) -> list[R]:
    """What a call gives for each of some things, in their order; on a disk one after the other.

    Raises:
        PipelineError: that of the first call that failed; the others came to their ends.
    """
    if store.root is not None:
        return [call(each) for each in over]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, over))


@contextmanager
def beside(store: Store, call: Callable[[], R]) -> Iterator[Callable[[], R]]:
    """Inside, a call is under way beside other work; on a disk it waits until it is asked for.

    Yields:
        What gives the call's answer, or raises what it raised.
    """
    if store.root is not None:
        yield call
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call).result


class ReadAhead(Store):
    """A store of which some objects were read at once, and are not asked for again."""

    def __init__(self, store: Store, keys: Iterable[str]) -> None:
        super().__init__(store._backend, store.url, store.root, store.called)
        wanted = list(dict.fromkeys(keys))
        self._kept = dict(zip(wanted, together(store, store.get, wanted), strict=True))

    def get(self, key: str) -> bytes:
        return self._kept[key] if key in self._kept else super().get(key)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        if key not in self._kept:
            with super().local(key) as path:
                yield path
            return
        with self.scratch() as folder:
            path = folder / "object"
            path.write_bytes(self._kept[key])
            yield path
