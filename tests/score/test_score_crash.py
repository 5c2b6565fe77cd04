"""Power cuts and full disks at any moment of a scoring: the next does what is missing."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnist_pipeline.score.outputs import record_of


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


@pytest.mark.integration
def test_a_full_disk_at_any_moment(score: Any, digits: Any, tmp_path: Path) -> None:
    """Told as such, nothing half-written; with more room the next call does what is missing."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small file system")
    images = [image.tobytes() for image in digits[0]]
    images[5] = None
    for name in "abc":
        table = pa.table({"image": pa.array(images, pa.binary())})
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet")
    words = [tmp_path / "in", "--probabilities", "--on-bad-row", "quarantine"]
    try:
        failures, code = 0, None
        for kilobytes in range(8, 1000, 12):
            resize = ["mount", "-o", f"remount,size={kilobytes}k", str(disk)]
            subprocess.run(resize, check=True)
            code, data = score(*words, to=disk / "out")
            if code == 0:
                break
            failures += 1
            assert code == 6
            assert data["error"]["headline"] == "the disk is full"
            for path in (disk / "out").glob("*.parquet"):
                assert record_of(path)
        assert (code, data["rows"], data["scored"]) == (0, 1800, 1797)
        assert failures > 5
        assert data["skipped_files"]  # done before, as room was made
    finally:
        gc.collect()  # a writer that failed holds its file until then
        subprocess.run(["umount", str(disk)], check=True)
