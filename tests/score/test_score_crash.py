"""SIGKILL after the n-th store call of a scoring, for every n: the next does what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_killed_after_every_store_call(scorer: Path, digits: Any, tmp_path: Path) -> None:
    images = [image.tobytes() for image in digits[0]]
    images[5] = None
    for name, count in (("a", 200), ("b", 20)):
        table = pa.table({"image": pa.array(images[:count], pa.binary())})
        (tmp_path / "in" / "k=1").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / "in" / "k=1" / f"{name}.parquet", row_group_size=30)
    zygote = Path(__file__).parents[1] / "score_zygote.py"
    # In memory where there is such a folder: a kill is no power cut, and fsync is most of the time.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        command = [sys.executable, str(zygote), str(scorer), str(tmp_path / "in"), scratch]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert answer["whole"] == "220 rows, 0 failed"
    assert answer["wrong"] == []
    assert answer["kills"] > 30


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_killed_at_random_instants() -> None:
    bench = Path(__file__).parents[1] / "benchmarks" / "bench_score_kills.py"
    command = [sys.executable, str(bench), "--kills", "5", "--rows", "120000", "--files", "6"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 kills" in done.stdout
