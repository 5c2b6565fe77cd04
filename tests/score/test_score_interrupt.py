"""Ctrl-C and SIGTERM while scoring: told in its own words, nothing half-written, taken up again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_samples import write

from mnist_pipeline.score.outputs import record_of

FILES = 60


def test_ctrl_c_speaks_of_scoring(
    score: Any, digits: Any, tmp_path: Path, output: Path, interrupt_at: Any
) -> None:
    write(tmp_path / "a.parquet", digits[0][:50])
    with interrupt_at("score"):
        code, data = score(tmp_path / "a.parquet")
    assert code == data["error"]["code"] == 130
    assert data["error"]["headline"] == "interrupted; nothing is half-written"
    assert data["error"]["remedy"] == "run it again: what was answered is not answered again"
    assert not list(output.glob("*.parquet"))
    assert score(tmp_path / "a.parquet")[0] == 0


@pytest.mark.integration
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_the_middle(
    name: str, scorer: Path, digits: Any, tmp_path: Path, output: Path
) -> None:
    rows = np.resize(digits[0], (60_000, 784))
    first = write(tmp_path / "in" / "0.parquet", rows)
    for number in range(1, FILES):
        first.with_name(f"{number}.parquet").hardlink_to(first)
    program = str(Path(sys.executable).with_name("mnist-pipeline"))
    command = [program, "score", str(tmp_path / "in"), "--output", str(output), "--json"]
    command += ["--workspace", str(scorer), "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not list(output.glob("*.parquet")) and time.monotonic() < end:
            time.sleep(0.005)
        pressed = time.monotonic()
        process.send_signal(getattr(signal, name))
        told, errors = process.communicate(timeout=60)
        took = time.monotonic() - pressed
    assert process.returncode == 130, errors
    assert json.loads(told)["error"]["kind"] == "interrupted"
    assert b"Traceback" not in errors
    assert took < 20  # a batch, not the rest of the job
    there = list(output.glob("*.parquet"))
    assert 1 <= len(there) < FILES
    assert all(record_of(path) for path in there)
    assert not list(output.glob(".scratch/*"))
    assert not (output / "_manifest.json").exists()
    again = subprocess.run(command, capture_output=True, check=True)
    assert len(json.loads(again.stdout)["skipped_files"]) == len(there)
