"""Shares: the parts of a job that are worth handing to somebody else.

What hands work out costs milliseconds a task, and on other hosts more than a tenth of a second. So
small files go out together, up to the rows of a slice; large files are cut into slices anyway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.job import FILE_ERRORS, Failure, failed
from mnist_pipeline.score.slices import FilePlan, Job, assemble, plan_file, score_slice

MOST_BATCHES = 64  # of files to be planned: hashing them is short work
SHARE_ROWS = 2_000_000  # tens of seconds on one core


@dataclasses.dataclass(frozen=True)
class Share:
    """Slices that are answered one after the other.

    Attributes:
        slices: (the plan of a file, which of its slices).
    """

    slices: tuple[tuple[FilePlan, int], ...]

    @property
    def rows(self) -> int:
        return sum(plan.cuts[number][3] for plan, number in self.slices)

    def __str__(self) -> str:
        plan, number = self.slices[0]
        more = len(self.slices) - 1
        part = f" {number + 1}/{len(plan.cuts)}" if len(plan.cuts) > 1 else ""
        return f"{plan.input.relative}{part}" + (f" and {more} more" if more else "")


def batches(files: Sequence[InputFile]) -> list[tuple[InputFile, ...]]:
    """Files by file, or several together where there are very many."""
    size = -(-len(files) // MOST_BATCHES)
    return [tuple(files[i : i + size]) for i in range(0, len(files), size or 1)]


def plan_files(job: Job, files: Iterable[InputFile]) -> list[FilePlan | Failure]:
    """The plans of some files, or why they have none.

    Raises:
        PipelineError: a file is bad, and bad files fail the job.
    """
    planned: list[FilePlan | Failure] = []
    for file in files:
        try:
            planned.append(plan_file(job, file))
        except FILE_ERRORS as error:
            planned.append(failed(job, file, error))
    return planned


def shares(job: Job, plans: Iterable[FilePlan]) -> list[Share]:
    """All slices that have no answers yet, in order, in shares of about `job.slice_rows`."""
    cut: list[Share] = []
    waiting: list[tuple[FilePlan, int]] = []
    rows = 0
    for plan in plans:
        for number in range(0 if plan.done else len(plan.cuts)):
            waiting.append((plan, number))
            rows += plan.cuts[number][3]
            if rows >= job.slice_rows:
                cut.append(Share(tuple(waiting)))
                waiting, rows = [], 0
    return [*cut, Share(tuple(waiting))] if waiting else cut


def score_share(job: Job, share: Share) -> list[Failure]:
    """Answers the slices of a share; returns the files among them that failed.

    Raises:
        PipelineError: a file is bad, and bad files fail the job.
    """
    failures: dict[str, Failure] = {}
    for plan, number in share.slices:
        name = plan.input.relative
        if name in failures:
            continue
        try:
            score_slice(job, plan, number)
        except FILE_ERRORS as error:
            failures[name] = failed(job, plan.input, error)
    return list(failures.values())


def assemble_file(job: Job, plan: FilePlan) -> Failure | None:
    """Puts the slices of a file together; returns why it failed, if it did.

    Raises:
        PipelineError: a file is bad, and bad files fail the job.
    """
    try:
        assemble(job, plan)
    except FILE_ERRORS as error:
        return failed(job, plan.input, error)
    return None
