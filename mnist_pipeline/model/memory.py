"""Freed memory is kept for the next step, which needs as much again."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = 1 << 30
_USUAL = 32 << 20  # the most that glibc itself would adapt to


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, arrays of megabytes do not go back to the system when they are freed.

    A step makes the same arrays as the one before. Each of them would be mapped and zeroed anew,
    page by page, which cost a convolutional network a quarter of its time. Only glibc can be told;
    elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _LARGEST)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _USUAL)
        mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
