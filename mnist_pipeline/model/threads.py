"""Threads: one in BLAS for every numeric result, two around it where there is work to share."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

T = TypeVar("T")
R = TypeVar("R")

_lock = threading.Lock()
_users = 0
_limit: Any = None


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Inside, matrix products use one thread: their bits then depend on nothing but the operands.

    BLAS keeps its thread count once a process, not once a thread. Users are therefore counted: the
    first one in sets the limit and the last one out restores it, so that no predictor in another
    thread sees the count change under it.
    """
    global _users, _limit
    with _lock:
        if _users == 0:
            _free_control()
            _limit = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _free_control()
                _limit.restore_original_limits()
                _free_control()


@functools.cache
def _controller() -> Any:
    """The BLAS libraries of this process; finding them costs milliseconds, so once."""
    return threadpoolctl.ThreadpoolController()


def _free_control() -> None:
    """Let the calling thread set OpenBLAS's count, whichever thread set it before.

    From 3.8 on threadpoolctl obeys only the first thread that asked and ignores the others without
    a word. The lock above keeps the order that rule is there for.
    """
    clear = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Hands:
    """Up to two threads that share work; all of NumPy's long operations run beside each other.

    Args:
        count: how many; None for as many as the process may use, two at most.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = min(2, cores() if count is None else count)
        self._second = ThreadPoolExecutor(1, "lane") if self.count > 1 else None

    def map(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`work` of each item, in their order: the first half here, the others beside it."""
        if self._second is None or len(items) < 2:
            return [work(item) for item in items]
        half = -(-len(items) // 2)
        others = self._second.submit(_quietly, work, items[half:])
        try:
            mine = [work(item) for item in items[:half]]
        finally:
            others.exception()  # waits: nobody may write on while the caller cleans up
        return mine + others.result()

    def __enter__(self) -> Hands:
        return self

    def __exit__(self, *_: object) -> None:
        if self._second is not None:
            self._second.shutdown()


def _quietly(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """As the caller does it: NaN and infinity are the watch's business, in every thread."""
    with np.errstate(all="ignore"):
        return [work(item) for item in items]
