"""One BLAS thread for every numeric result, whoever asks and from whichever thread."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import threadpoolctl  # type: ignore[import-untyped]

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
