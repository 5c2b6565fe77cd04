"""A night with one new file of 1,000 rows on top of 60,000 known ones, and a quiet night.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_night.py

Ingest and validation of the night against those of all its files in an empty workspace, turn by
turn in one process; then quiet nights of the whole program, from its start to its end. CPU seconds,
medians. The 60,000 known rows are MNIST's training images, once as the source `mnist` (with its
10,000 test images), once as sixty CSV files, once as sixty Parquet files.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.configfile import load_preset, resolve
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import bytes_column
from mnist_pipeline.sources import mnist
from mnist_pipeline.stages.inputs import Input
from mnist_pipeline.stages.landing import take_in, take_stock
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.validate import validate
from mnist_pipeline.store.objects import Store

BAR = 0.1
QUIET_BAR = 3.0
ROWS = 1_000
PROGRAM = "from mnist_pipeline.cli import entry_point; entry_point()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    train, _ = mnist.Mnist().parts()
    blocks = list(train.read(ImageContract()))
    images = np.concatenate([block.images for block in blocks])
    labels = np.concatenate([block.labels for block in blocks if block.labels is not None])
    print(f"{'60,000 known rows':26}{'all':>10}{'night':>10}{'ratio':>8}  at most {BAR}")
    with tempfile.TemporaryDirectory() as name:
        for number, (kind, files) in enumerate((("mnist", 0), ("csv", 60), ("parquet", 60))):
            folder = Path(name) / str(number)
            landing = folder / "landing"
            landing.mkdir(parents=True)
            for k in range(files):
                rows = slice(k * ROWS, (k + 1) * ROWS)
                _write(landing, f"{k:03}", kind, images[rows], labels[rows])
            suffix = "csv" if kind == "mnist" else kind
            data = {
                "sources": ["mnist"] if kind == "mnist" else [],
                "landing": [f"{suffix}:{landing}/*.{suffix}"],
            }
            _compare(folder, landing, data, suffix, images, labels, repeats)
            if kind == "mnist":
                _quiet(folder, data, repeats)


def _compare(
    folder: Path,
    landing: Path,
    data: dict[str, list[str]],
    suffix: str,
    images: np.ndarray,
    labels: np.ndarray,
    repeats: int,
) -> None:
    """One line: everything in an empty workspace, and a night behind a known one."""
    known, everything, nights = folder / "known", [], []
    if data["sources"] or any(landing.iterdir()):
        _night(known, data)
    fresh = images[:ROWS].reshape(-1, 28, 28).transpose(0, 2, 1).reshape(-1, 784)
    _write(landing, "new", suffix, fresh, labels[:ROWS])
    for number in range(repeats + 1):
        for workspace in (folder / "all", folder / "night"):
            shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(known, folder / "night")  # keeps the times of its files
        pair = _night(folder / "all", data), _night(folder / "night", data)
        if number:  # the first round warms up
            everything.append(pair[0])
            nights.append(pair[1])
    ratio = statistics.median(b / a for a, b in zip(everything, nights, strict=True))
    what = ", ".join(data["sources"]) or f"sixty files of {suffix}"
    print(
        f"{what:26}{statistics.median(everything):10.3f}{statistics.median(nights):10.3f}"
        f"{ratio:8.3f}"
    )


def _night(workspace: Path, data: dict[str, list[str]]) -> float:
    """CPU seconds of ingest and validation."""
    run = Run(Store.open(workspace), resolve([load_preset("fast"), {"data": data}]))
    mnist._fault_as_of.cache_clear()  # every night is a process of its own
    started = time.process_time()
    arrivals = [
        take_in(run, arrival) if isinstance(arrival, Input) else arrival
        for arrival in take_stock(run)
    ]
    validate(run, arrivals)
    return time.process_time() - started


def _quiet(folder: Path, data: dict[str, list[str]], repeats: int) -> None:
    """Another line: the program itself when nothing has changed since its last run."""
    words = ["train", "--engine", "plain", "--quiet", "--workspace", str(folder / "quiet")]
    words += ["--source", *data["sources"], "--landing", *data["landing"]]
    seconds = []
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words], check=True, capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "unchanged" in answer.stdout, answer.stdout
    print(
        f"{'quiet night, the program':26}{'':20}{statistics.median(seconds[1:]):8.2f} s"
        f"  at most {QUIET_BAR}"
    )


def _write(folder: Path, name: str, kind: str, images: np.ndarray, labels: np.ndarray) -> None:
    """A file of 1,000 rows that arrived an hour ago."""
    if kind == "mnist":
        return
    path = folder / f"{name}.{kind}"
    if kind == "csv":
        header = "label," + ",".join(f"pixel{k}" for k in range(784))
        cells = np.column_stack([labels, images]).astype(str)
        path.write_text("\n".join([header, *map(",".join, cells)]) + "\n")
    else:
        table = {"label": pa.array(labels), "image": bytes_column(images)}
        pq.write_table(pa.table(table), path)
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))


if __name__ == "__main__":
    main()
