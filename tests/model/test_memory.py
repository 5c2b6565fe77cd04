from __future__ import annotations

import platform
import threading

import numpy as np
import pytest

from mnist_pipeline.model.memory import kept_memory

SIZE = 40 << 20  # more than glibc keeps of its own accord


def faults(arrays: int = 10) -> int:
    """How many pages the system had to map for arrays made and freed one after the other."""
    import resource

    for _ in range(3):
        np.empty(SIZE, np.uint8).fill(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(arrays):
        np.empty(SIZE, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_inside_the_same_memory_is_used_again() -> None:
    with kept_memory():
        assert faults() < 10
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(faults()))
        thread.start()
        thread.join()
        assert seen[0] < 10


def test_it_may_be_nested_and_left_by_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), kept_memory(), kept_memory():
        raise ValueError("inside")
    np.empty(SIZE, np.uint8).fill(1)
