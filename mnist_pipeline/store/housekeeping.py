"""Housekeeping: what nothing needs any more is removed, and never a byte that a manifest names.

Kept are all versions, whatever their verdict (a version never changes after it is visible, and
whoever was answered by one wants to know what it was); the history of channels; the exams and data
sets that versions name, with all their parts; the newest runs; and everything younger than the
grace period.

*Beside a running training.* A run may use what is older than any grace period and named by no
manifest: a part that was ingested last month, the normalizer of another run. Two rules make that
safe, on disk and in buckets, where reading makes nothing younger:

1. A run that finds something it can use writes the record of it anew (`hold_on_to`: `part.json`,
   the memo) before it looks whether the objects are whole. So all that a run uses is as young as
   the run, or named by a manifest.
2. A run at work shows a sign (`runs/<id>/at-work.json`). While its process is seen alive on this
   host, or may live on another one and has written something within the grace period, nothing is
   removed that is younger than that sign. So a run may take longer than the grace period.

Ages are the store's times held against this host's clock: the grace period is to be longer than
these two may differ, and than the longest stage of a run on another host.

Between deciding and removing, each thing is looked at again: has it, or a record that names it,
been written since? What is left is a run that takes something up in the instant between this second
look and the removal. Records go before what they name, so the run finds its record gone, or its
object, and makes it anew; were `gc` frozen in that instant for as long as the run takes to read it
all, the run would fail, and its publish stage, which looks at all that its manifest is going to
name, would publish nothing.

*Killed at any instant.* Referrers go first: a memo before the objects it names, a data set's record
before its index and parts, `part.json` before the part, a claim before its files. What a kill
leaves is named by nothing, is ignored by every reader, and is found by the next `gc`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.survey import SHELVES, Leftover, Policy, Survey
from mnist_pipeline.store.temporary import temporaries, tidy

KINDS = (
    "memos",
    "checkpoints",
    "runs",
    "quarantine",
    "datasets",
    "parts",
    "exams",
    "claims",
    "temporary",
)


@dataclasses.dataclass(frozen=True)
class Swept:
    """What was removed, or with a dry run would be.

    Attributes:
        horizon: nothing younger was touched.
        at_work: the runs that go on.
        removed: by kind, the name and size of each thing.
        notes: what a person should know.
    """

    horizon: datetime
    at_work: tuple[str, ...]
    removed: Mapping[str, Sequence[tuple[str, int]]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        kinds = {
            kind: {
                "count": len(found),
                "bytes": sum(size for _, size in found),
                "names": [name for name, _ in found],
            }
            for kind, found in self.removed.items()
        }
        return {
            "removed": kinds,
            "count": sum(kind["count"] for kind in kinds.values()),
            "bytes": sum(kind["bytes"] for kind in kinds.values()),
            "horizon": f"{self.horizon:%Y-%m-%dT%H:%M:%SZ}",
            "at_work": list(self.at_work),
            "notes": list(self.notes),
        }


def sweep(store: Store, policy: Policy, *, dry_run: bool, now: datetime | None = None) -> Swept:
    """Removes what nothing needs any more; see above for what that is, and why it is safe.

    Args:
        store: the workspace.
        policy: what is kept all the same.
        dry_run: only look.
        now: UTC; the clock's time if it is left out.

    Raises:
        IntegrityError: a manifest, an exam record or a series is damaged: nothing was removed,
            since nobody knows what it names.
    """
    survey = Survey.of(store, policy, now or datetime.now(UTC))
    removed: dict[str, list[tuple[str, int]]] = {kind: [] for kind in KINDS}
    for leftover in survey.leftovers():
        if dry_run or _remove(store, leftover, survey.horizon):
            size = sum(info.size for info in leftover.objects)
            removed[leftover.kind].append((leftover.name, size))
    if store.root is not None:
        for temporary in temporaries(store.root, SHELVES, survey.horizon):
            if not dry_run:
                temporary.remove()
            name = temporary.path.relative_to(store.root).as_posix()
            removed["temporary"].append((name, temporary.size))
        if not dry_run:
            tidy(store.root, SHELVES, survey.horizon)
    notes = tuple(
        f"the record of data set {digest[:12]} is lost, and with it which parts it names: all "
        "parts stay; restore it from a backup"
        for digest in survey.lost_datasets
    )
    return Swept(survey.horizon, survey.at_work, removed, notes)


def _remove(store: Store, leftover: Leftover, horizon: datetime) -> bool:
    """Removes something after a second look; says whether it was still nobody's."""
    if any(store.exists(key) for key in leftover.referrers):
        return False
    for known in leftover.objects:
        info = store.info(known.key)
        if info and info.modified >= horizon:
            return False
    for known in leftover.objects:
        store.delete(known.key)
    if leftover.folder and store.root is not None:
        for folder in sorted((store.root / leftover.folder).glob("**/"), reverse=True):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
    return True
