"""Kills a small scoring after its n-th store call, for every n; run by test_score_crash.py.

    python score_zygote.py WORKSPACE INPUT_FOLDER SCRATCH_FOLDER

Prints one JSON object: how many kills there were, and what was found wrong after any of them.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from crash_zygote import forked

from mnist_pipeline.reporting import Silent
from mnist_pipeline.score.engine import score_files
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import MANIFEST, find_model, make_job
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.outputs import MARKER, record_of
from mnist_pipeline.store.objects import Store

SLICE_ROWS = 60


def score(workspace: str, folder: str, output: Path | str, **options: Any) -> str:
    store = Store.open(workspace, writable=False)
    manifest, _ = find_model(store, None)
    asked = ScoreOptions(on_bad_row="quarantine", **options)
    job = make_job(store, manifest, str(output), asked, slice_rows=SLICE_ROWS)
    inputs = find_inputs([folder])
    summary = score_files(job, inputs, Silent(), workers=2)
    return f"{summary.tally.rows} rows, {len(summary.failures)} failed"


def score_until(call: int, workspace: str, folder: str, output: Path | str) -> str:
    """A scoring that kills itself right after its `call`-th store call."""
    calls = 0

    def count(_store: Store, _operation: str, _key: str) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)

    Store._called = count  # type: ignore[method-assign]
    return score(workspace, folder, output)


def wrong_with(output: Path, expected: Path | None) -> list[str]:
    """What visible answers there are must be whole; with `expected`, they must be all of those."""
    found = []
    names = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    for name in sorted(names):
        if name.startswith((".s", "_quarantine")) or name in (MARKER, MANIFEST):
            continue
        if record_of(output / name) is None:
            found.append(f"{name} is half-written")
    if expected:
        wanted = {str(p.relative_to(expected)) for p in expected.rglob("*") if p.is_file()}
        if names != wanted:
            found.append(f"files: {sorted(names ^ wanted)}")
        for name in sorted(names & wanted):
            if name.endswith(".parquet"):
                one, two = (pq.read_table(folder / name) for folder in (output, expected))
                if not one.equals(two):
                    found.append(f"{name} has other answers")
    return found


def main() -> None:
    workspace, folder, scratch = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    expected = scratch / "expected"
    whole = forked(lambda: score(workspace, folder, expected))[1]
    output = scratch / "output"
    wrong: list[str] = []
    call = 0
    while True:
        call += 1
        shutil.rmtree(output, ignore_errors=True)
        killed, _ = forked(functools.partial(score_until, call, workspace, folder, output))
        if not killed:
            break
        place = f"killed after call {call}"
        if output.exists():
            wrong += [f"{place}: {fault}" for fault in wrong_with(output, None)]
        answer = forked(lambda: score(workspace, folder, output))[1]
        if answer != whole:
            wrong.append(f"{place}: {answer}")
        wrong += [f"{place}: {fault}" for fault in wrong_with(output, expected)]
    print(json.dumps({"kills": call - 1, "wrong": wrong, "whole": whole}))


if __name__ == "__main__":
    main()
