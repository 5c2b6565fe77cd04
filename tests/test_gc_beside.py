"""gc beside a running training: whenever it comes, the training ends as if nobody had been there.

The training uses nothing but what is old and named by nobody: a workspace whose models were lost,
so that every part and every result of a stage is an orphan that gc would remove.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from small import SETTINGS

from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.pipeline import Result, run_pipeline
from mnist_pipeline.refs import Ref
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store import memo, owner
from mnist_pipeline.store.bundles import verify_version
from mnist_pipeline.store.housekeeping import sweep
from mnist_pipeline.store.lineage import dataset_record
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.survey import AT_WORK, Policy

GRACE = timedelta(hours=24)
NOTHING_KEPT = 0


def train_in(workspace: Path, source: Path, **options) -> Result:
    layers = [parse_setting(setting) for setting in SETTINGS]
    config = resolve([*layers, {"data": {"sources": [f"idx:{source}"]}}])
    return run_pipeline(Run(Store.open(workspace), config, **options))


def make_older(workspace: Path, hours: float = 72) -> None:
    for path in workspace.rglob("*"):
        then = path.lstat().st_mtime - 3600 * hours
        os.utime(path, (then, then))


@pytest.fixture
def orphans(workspace: Path, idx_folder: Path) -> Path:
    """A workspace full of results that nobody names, three days old."""
    train_in(workspace, idx_folder)
    shutil.rmtree(workspace / "models")
    make_older(workspace)
    return workspace


@contextmanager
def at_call(number: int, act: Callable[[], object]) -> Iterator[list[str]]:
    """Inside, `act` happens right after the `number`-th store call; yields all calls."""
    calls: list[str] = []
    before = Store._called

    def called(_store: Store, operation: str, key: str) -> None:
        calls.append(f"{operation} {key}")
        if len(calls) == number:
            Store._called = before  # type: ignore[method-assign]
            act()
            Store._called = called  # type: ignore[method-assign]

    Store._called = called  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Store._called = before  # type: ignore[method-assign]


def check_whole(workspace: Path) -> None:
    store = Store.open(workspace)
    manifest = Registry(store).find("digits@champion")
    verify_version(store, manifest)
    record = dataset_record(store, manifest.dataset)
    assert record is not None
    assert all(store.exists(key) for key in (*record.parts, record.index))
    assert store.exists(f"exams/{manifest.exam}.parquet")


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("whose", ["seen alive", "on another host"])
def test_whenever_gc_comes_the_training_ends_well(
    whose: str,
    every: int,
    orphans: Path,
    idx_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Seen alive, no grace is needed; where nobody can tell, what is used must look young.
    grace = timedelta(0) if whose == "seen alive" else GRACE
    if whose == "on another host":
        monkeypatch.setattr(owner, "_PROC", tmp_path / "no-proc")
    number, removed = 1, 0
    while True:
        workspace = tmp_path / "copy"
        shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(orphans, workspace)

        def collect(workspace: Path = workspace) -> None:
            nonlocal removed
            swept = sweep(Store.open(workspace), Policy(grace, NOTHING_KEPT), dry_run=False)
            removed += int(swept.to_json()["count"])

        with at_call(number, collect) as calls:
            result = train_in(workspace, idx_folder)
        assert result.outcome.status == "promoted"
        check_whole(workspace)
        if len(calls) < number:
            break
        number += every
    assert number > 60
    assert removed > 10


def test_the_old_results_are_really_used(orphans: Path, idx_folder: Path) -> None:
    with at_call(0, lambda: None) as calls:
        train_in(orphans, idx_folder)
    assert not any(call.startswith("put runs/") and "bundle" in call for call in calls)


def test_without_taking_hold_of_what_it_uses_a_training_would_fail(
    orphans: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above is worth something: it is the holding on that makes it pass."""

    def only_look(store: Store, key: str, data: bytes, refs: list[Ref]) -> bool:
        return all(store.verifies(ref) for ref in refs)

    monkeypatch.setattr(memo, "hold_on_to", only_look)
    policy = Policy(GRACE, NOTHING_KEPT)
    with at_call(0, lambda: None) as calls:
        train_in(orphans, idx_folder)
    shutil.rmtree(orphans / "models")
    make_older(orphans)
    evaluated = 1 + max(i for i, call in enumerate(calls) if "predictions.parquet" in call)
    with (
        at_call(evaluated - 1, lambda: sweep(Store.open(orphans), policy, dry_run=False)),
        pytest.raises(IntegrityError, match="missing"),
    ):
        train_in(orphans, idx_folder)


def test_a_run_shows_a_sign_while_it_is_at_work(idx_folder: Path, workspace: Path) -> None:
    signs: list[list[Path]] = []
    with at_call(40, lambda: signs.append(list(workspace.glob(f"runs/*/{AT_WORK}")))):
        train_in(workspace, idx_folder)
    assert len(signs[0]) == 1
    assert not list(workspace.glob(f"runs/*/{AT_WORK}"))


def test_the_sign_goes_when_a_run_fails(tmp_path: Path, idx_folder: Path, workspace: Path) -> None:
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(Exception, match="empty"):
        train_in(workspace, idx_folder)
    assert not list(workspace.glob(f"runs/*/{AT_WORK}"))


@pytest.mark.parametrize("gone", ["part", "claim"])
def test_a_run_that_was_taken_for_dead_publishes_nothing(
    gone: str, idx_folder: Path, workspace: Path
) -> None:
    """It stood still for days just before its manifest, and what it names was tidied away."""
    with at_call(0, lambda: None) as calls:
        train_in(workspace, idx_folder)
    last_file = max(i for i, call in enumerate(calls) if call.endswith("/report.html")) + 1
    shutil.rmtree(workspace)

    def tidy_away() -> None:
        pattern = "parts/*/part.parquet" if gone == "part" else "models/*/versions/1/claim.json"
        for path in workspace.glob(pattern):
            path.unlink()

    with at_call(last_file, tidy_away), pytest.raises(IntegrityError, match="tidied away"):
        train_in(workspace, idx_folder)
    assert Registry(Store.open(workspace)).versions("digits") == []
    assert train_in(workspace, idx_folder).outcome.status == "promoted"
