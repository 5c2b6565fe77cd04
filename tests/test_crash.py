"""SIGKILL after the n-th store call, for every n: nothing half-visible, the next run ends well."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_killed_after_every_store_call(idx_folder: Path, tmp_path: Path) -> None:
    zygote = Path(__file__).with_name("crash_zygote.py")
    command = [sys.executable, str(zygote), str(idx_folder), str(tmp_path)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert answer["wrong"] == []
    assert answer["kills"] > 100  # two runs, dozens of calls each
