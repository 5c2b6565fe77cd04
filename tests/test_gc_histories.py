"""Random histories with gc in them: whatever happens, all manifests verify and can be rebuilt."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def histories(first: int, count: int, steps: int) -> dict:
    zygote = Path(__file__).with_name("history_zygote.py")
    # In memory where there is such a folder: a kill is no power cut, and fsync is most of the time.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        command = [sys.executable, str(zygote), scratch, str(first), str(count), str(steps)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_random_histories() -> None:
    answer = histories(1000, 15, 14)
    assert answer["wrong"] == []
    assert answer["steps"]["removed"] > 50
    assert answer["steps"]["killed"] > 25
