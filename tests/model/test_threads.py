from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mnist_pipeline.model.threads import single_threaded_blas


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_one_thread_inside_and_as_before_outside() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2, "blas"):
        with single_threaded_blas():
            assert blas_threads() == {1}
            with single_threaded_blas():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}


def test_restored_after_an_error() -> None:
    with threadpool_limits(2, "blas"):
        with pytest.raises(ValueError, match="inside"), single_threaded_blas():
            raise ValueError("inside")
        assert blas_threads() == {2}


def test_the_last_user_restores_not_the_first_to_leave() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with single_threaded_blas():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with threadpool_limits(2, "blas"):
        with single_threaded_blas():
            thread.start()
            assert entered.wait(10)
        assert blas_threads() == {1}  # this user is out, the other is still computing
        leave.set()
        thread.join()
        assert blas_threads() == {2}


def test_every_thread_can_set_the_limit_whoever_set_it_before() -> None:
    """threadpoolctl 3.8 silently ignores all but the first thread that asked."""
    seen: list[set[int]] = []

    def other() -> None:
        with single_threaded_blas():
            seen.append(blas_threads())

    with threadpool_limits(2, "blas"):
        with single_threaded_blas():
            pass
        for _ in range(2):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            assert blas_threads() == {2}
    assert seen == [{1}, {1}]
