"""Versions whose run was killed right after publishing them: who may take them up, and when."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from store_samples import make_manifest, run_record

from mnist_pipeline.refs import readable_json
from mnist_pipeline.store import owner
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.registry import SECONDS_TO_FINISH, Registry

ELSEWHERE = [{"host": "another-host"}, {"space": "1"}, {"space": "?"}]


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


def ago(seconds: float) -> str:
    """A time so many seconds in the past, as manifests write it."""
    return f"{datetime.now(UTC) - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def leave(registry: Registry, age: float = 0, **owner_changes: Any) -> int:
    """Publishes a version of run `theirs` with key `mine`, as the owner with these changes."""
    number = registry.claim("digits", "theirs", "mine")
    whose = dataclasses.asdict(dataclasses.replace(Owner.this(), **owner_changes))
    claim = {"run": "theirs", "run_key": "mine", "owner": whose}
    registry.store.put(f"{registry.prefix('digits', number)}/claim.json", readable_json(claim))
    manifest = make_manifest("digits", number, run="theirs", run_key="mine", created=ago(age))
    registry.publish(manifest)
    return number


def found(registry: Registry, run: str = "ours", run_key: str = "mine") -> int | None:
    """The number of the version that a run would take up."""
    manifest = registry.abandoned("digits", run, run_key)
    return manifest.version if manifest else None


def test_a_version_left_by_a_dead_process_is_taken_up(registry: Registry, dead_pid: int) -> None:
    number = leave(registry, pid=dead_pid)
    assert found(registry) == number
    assert found(registry, run_key="another") is None
    assert registry.abandoned("letters", "ours", "mine") is None


def test_a_version_of_a_living_process_is_left_alone_however_old(registry: Registry) -> None:
    leave(registry, age=1000 * SECONDS_TO_FINISH)
    assert found(registry) is None


@pytest.mark.parametrize("whose", [{}, *ELSEWHERE])
def test_a_run_tried_again_takes_up_its_own_version_at_once(
    registry: Registry, whose: dict[str, str]
) -> None:
    number = leave(registry, **whose)
    assert found(registry, run="theirs") == number
    assert found(registry, run="theirs", run_key="another") is None  # its data has changed
    assert found(registry) is None


@pytest.mark.parametrize("whose", ELSEWHERE)
def test_a_version_from_elsewhere_is_taken_up_by_age_and_not_before(
    registry: Registry, dead_pid: int, whose: dict[str, str]
) -> None:
    leave(registry, age=SECONDS_TO_FINISH - 30, pid=dead_pid, **whose)
    assert found(registry) is None
    number = leave(registry, age=SECONDS_TO_FINISH + 2, pid=dead_pid, **whose)
    assert found(registry) == number


def test_a_clock_that_is_behind_makes_no_version_old(registry: Registry) -> None:
    leave(registry, age=-10 * SECONDS_TO_FINISH, host="another-host")
    assert found(registry) is None


def test_without_proc_age_decides(
    registry: Registry, dead_pid: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(owner, "_PROC", tmp_path / "no-proc")
    leave(registry, pid=dead_pid)
    assert found(registry) is None
    number = leave(registry, age=SECONDS_TO_FINISH + 2)
    assert found(registry) == number


@pytest.mark.parametrize("run", ["ours", "theirs"])
@pytest.mark.parametrize("why", ["unfinished", "recorded", "damaged", "unreadable claim"])
def test_a_version_that_nobody_needs_to_finish_is_left_alone(
    registry: Registry, dead_pid: int, why: str, run: str
) -> None:
    number = leave(registry, age=2 * SECONDS_TO_FINISH, pid=dead_pid)
    assert found(registry, run) == number
    prefix = registry.prefix("digits", number)
    if why == "unfinished":
        registry.store.delete(f"{prefix}/manifest.json")
    if why == "recorded":
        registry.record_run("digits", run_record(version=number))
    if why == "damaged":
        registry.store.put(f"{prefix}/manifest.json", b"{}")
    if why == "unreadable claim":
        registry.store.put(f"{prefix}/claim.json", b"{")
    assert found(registry, run) is None


def test_a_record_of_another_version_does_not_count(registry: Registry, dead_pid: int) -> None:
    number = leave(registry, pid=dead_pid)
    registry.record_run("digits", run_record(version=number + 1))
    registry.record_run("digits", run_record(version=None))
    assert found(registry) == number


def test_of_several_versions_the_newest_is_taken_up(registry: Registry, dead_pid: int) -> None:
    numbers = [leave(registry, pid=dead_pid) for _ in range(3)]
    leave(registry)  # alive
    assert found(registry) == numbers[-1]


def test_a_process_that_really_died_leaves_its_version(folder_store: Store) -> None:
    program = (
        "import sys\n"
        "from mnist_pipeline.store.objects import Store\n"
        "from mnist_pipeline.store.registry import Registry\n"
        "print(Registry(Store.open(sys.argv[1])).claim('digits', 'theirs', 'mine'))\n"
    )
    command = [sys.executable, "-c", program, str(folder_store.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    registry = Registry(folder_store)
    registry.publish(make_manifest("digits", int(done.stdout), run_key="mine", created=ago(0)))
    assert found(registry) == 1
