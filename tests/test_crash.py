"""SIGKILL after the n-th store call, for every n: nothing half-visible, the next run ends well."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_killed_after_every_store_call(idx_folder: Path) -> None:
    zygote = Path(__file__).with_name("crash_zygote.py")
    # In memory where there is such a folder: a kill is no power cut, and fsync is most of the time.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        command = [sys.executable, str(zygote), str(idx_folder), scratch]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert answer["wrong"] == []
    assert answer["kills"] > 100  # two runs, dozens of calls each


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_nights_killed_at_random_instants() -> None:
    bench = Path(__file__).parent / "benchmarks" / "bench_night_kills.py"
    done = subprocess.run([sys.executable, bench, "--kills", "5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 faults" in done.stdout
