"""Faults between the calls of a store, on disk and in a bucket: nothing half-visible, none lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small import PLACES

from mnist_pipeline.store.places import TIMEOUT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

# A few positions; benchmarks/bench_faults.py has all of them.
FAULTS = {
    "folder": ("error,lost,error+,lost+", 23),
    "bucket": ("cut,lost,error+", 97),
}


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_disturbed_between_any_two_calls(
    place: str, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMEOUT, "0.5")
    faults, every = FAULTS["bucket" if place.startswith("s3") else "folder"]
    zygote = Path(__file__).with_name("fault_zygote.py")
    command = [sys.executable, zygote, idx_folder, place, faults, "5", str(every)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert answer["wrong"] == []
    ended = {words.rpartition(" ")[2] for words in answer["ends"]}
    assert {"promoted", "outside"} <= ended
