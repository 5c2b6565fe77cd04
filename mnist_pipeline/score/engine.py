"""The engine without an orchestrator: the slices of all files, a thread a core.

Reading, the matrix products and writing all run outside Python's lock, so threads of one process
keep every core busy; each computes with one BLAS thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from mnist_pipeline.errors import PipelineError
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.reporting import Reporter, Step
from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.job import FILE_ERRORS, Failure, Summary, conclude, failed
from mnist_pipeline.score.slices import FilePlan, Job, assemble, plan_file, score_slice

T = TypeVar("T")


class _StoppedError(Exception):
    """Somebody else failed, or the user wants no more."""


class _Work:
    """What the threads share: files to be answered, those that failed, how far it is."""

    def __init__(self, job: Job, reporter: Reporter) -> None:
        self.job, self.reporter = job, reporter
        self.stop = threading.Event()
        self.failures: dict[str, Failure] = {}
        self.rows = self.total = 0
        self._missing: dict[str, int] = {}
        self._lock = threading.Lock()
        self._started = time.perf_counter()

    def plan(self, file: InputFile) -> FilePlan | None:
        """The plan of a file; None if it failed."""
        try:
            self._check()
            return plan_file(self.job, file)
        except FILE_ERRORS as error:
            self._fail(file, error)
            return None

    def expect(self, plan: FilePlan) -> None:
        """Counts a file's slices and rows before any of them is begun."""
        self._missing[plan.input.relative] = len(plan.cuts)
        self.total += plan.rows

    def answer(self, plan: FilePlan, number: int) -> None:
        """Answers a slice; whoever answers a file's last one puts it together."""
        name = plan.input.relative
        try:
            if name in self.failures:
                return
            score_slice(self.job, plan, number, self._told)
            with self._lock:
                self._missing[name] -= 1
                last = self._missing[name] == 0
            if last:
                assemble(self.job, plan)
        except FILE_ERRORS as error:
            self._fail(plan.input, error)

    def _told(self, rows: int) -> None:
        self._check()
        with self._lock:
            self.rows += rows
            rate = self.rows / max(time.perf_counter() - self._started, 1e-6)
            self.reporter.step(Step(self.rows, self.total, "rows", f"{rate:,.0f} images/s"))

    def _check(self) -> None:
        if self.stop.is_set():
            raise _StoppedError

    def _fail(self, file: InputFile, error: PipelineError) -> None:
        failure = failed(self.job, file, error)
        with self._lock:
            self.failures.setdefault(file.relative, failure)


def score_files(
    job: Job, inputs: Sequence[InputFile], reporter: Reporter, *, workers: int | None = None
) -> Summary:
    """Answers every file that has no answers yet, and sums up.

    Args:
        job: the model, the output, the options.
        inputs: the files.
        reporter: who is told.
        workers: how many threads; one a core if it is left out.

    Raises:
        DataError: a file is bad, and bad files fail the job.
        IntegrityError: the model does not verify.
        OutsideError: the output cannot be written.
    """
    started = time.perf_counter()
    work = _Work(job, reporter)
    reporter.begin("score", f"{len(inputs):,} files")
    count = workers or len(os.sched_getaffinity(0))
    with single_threaded_blas(), ThreadPoolExecutor(count, thread_name_prefix="score") as pool:
        try:
            planned = _results([pool.submit(work.plan, file) for file in inputs])
            plans = [plan for plan in planned if plan]
            todo = [plan for plan in plans if not plan.done]
            for plan in todo:
                work.expect(plan)
            _results(
                [pool.submit(work.answer, plan, n) for plan in todo for n in range(len(plan.cuts))]
            )
            answered = [plan for plan in plans if plan.input.relative not in work.failures]
        except BaseException:
            work.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    summary = conclude(job, answered, list(work.failures.values()), started)
    reporter.end("score", summary.words, summary.seconds, reused=not todo)
    return summary


def _results(futures: Sequence[Future[T]]) -> list[T]:
    """What all of them return, or the first exception, as soon as there is one."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return [future.result() for future in futures]
