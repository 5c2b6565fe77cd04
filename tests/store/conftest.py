"""Stores of both kinds, processes that race, and a small disk, for the tests of `store`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small import PLACES
from store_samples import make_bundle, publish_bundle
from workspace_samples import D, E, put_dataset, put_exam, put_run

from mnist_pipeline.store.exams import freeze_exam
from mnist_pipeline.store.objects import Store


@pytest.fixture(params=["memory", *PLACES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, on local disk, in memory and on an S3 server."""
    if request.param == "bucket":
        return Store.open(f"{request.getfixturevalue('bucket')}/workspace")
    return Store.open("memory://" if request.param == "memory" else tmp_path / "workspace")


@pytest.fixture(params=PLACES)
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store that several processes can work in."""
    if request.param == "bucket":
        return Store.open(f"{request.getfixturevalue('bucket')}/workspace")
    return Store.open(tmp_path / "workspace")


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "workspace")


@pytest.fixture
def world(store: Store) -> Store:
    """digits@1 with all that it names."""
    put_dataset(store, D, "p1", "p2")
    freeze_exam(store, "digits", put_exam(store, E))
    put_run(store, "r1", stage_key="m1")
    manifest = publish_bundle(store, make_bundle())
    assert (manifest.dataset, manifest.exam, manifest.run) == (D, E, "r1")
    return store


Race = Callable[..., list[Any]]

_RUNNER = """
import json, sys
from mnist_pipeline.store.objects import Store
store, me, arguments = Store.open(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
{imports}
print("ready", flush=True)
sys.stdin.readline()
{program}
print(json.dumps(result), flush=True)
"""


@pytest.fixture
def race() -> Race:
    """Runs a program in several processes at once; each sets `result`, the list of which returns.

    The program sees `store`, `me` (its number from 0) and `arguments`.
    """

    def run(place: str, program: str, *arguments: str, imports: str = "") -> list[Any]:
        source = _RUNNER.format(program=program, imports=imports)
        command = [sys.executable, "-c", source, place]
        runners = [
            subprocess.Popen(
                [*command, str(number), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(4)
        ]
        for runner in runners:
            assert runner.stdout
            assert runner.stdout.readline() == "ready\n"
        for runner in runners:
            assert runner.stdin
            runner.stdin.write("go\n")
            runner.stdin.flush()
        results = []
        for runner in runners:
            output, _ = runner.communicate(timeout=60)
            assert runner.returncode == 0
            results.append(json.loads(output))
        return results

    return run


@pytest.fixture
def dead_pid() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own with room for 128 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root, with the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
