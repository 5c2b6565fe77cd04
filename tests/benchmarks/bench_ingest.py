"""IDX → validated lz4 Parquet, against np.fromfile and a bare pyarrow write of the same columns.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_ingest.py

Both sides take turns in one process on the same uncompressed files; CPU seconds, medians.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.configfile import load_preset, resolve
from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.data.parquet import ROW_GROUP, bytes_column
from mnist_pipeline.stages.ingest import ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store

BAR = 2.0
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in FILES:
            _unpack(file, folder)
        bare_digests = row_digests(_images(folder))
        ours, bare = [], []
        for number in range(repeats + 1):
            target = folder / f"workspace{number}"
            pair = (
                _cpu(lambda target=target: _ingest(folder, target)),
                _cpu(lambda: _bare(folder, bare_digests)),
            )
            if number:  # the first round warms up
                ours.append(pair[0])
                bare.append(pair[1])
    ratios = sorted(a / b for a, b in zip(ours, bare, strict=True))
    print(f"{'':34}{'CPU s (median)':>16}")
    print(f"{'np.fromfile + bare pyarrow write':34}{statistics.median(bare):16.3f}")
    print(f"{'ingest: parse, judge, digest, write':34}{statistics.median(ours):15.3f}")
    print(
        f"ratio {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}), at most {BAR}"
    )


def _unpack(file: str, folder: Path) -> None:
    packed = Path(os.environ["MNIST_DATA_DIR"]) / f"{file}.gz"
    (folder / file).write_bytes(gzip.decompress(packed.read_bytes()))


def _images(folder: Path) -> np.ndarray:
    return np.fromfile(folder / FILES[0], np.uint8, offset=16).reshape(-1, 784)


def _bare(folder: Path, digests: np.ndarray) -> None:
    """What anybody would write: the same columns, the same codec, nothing checked."""
    images = _images(folder)
    count = len(images)
    table = pa.table(
        {
            "row_id": np.arange(count),
            "label": np.fromfile(folder / FILES[1], np.uint8, offset=8),
            "image": bytes_column(images),
            "digest": bytes_column(digests),
            "source": pa.repeat(pa.scalar(FILES[0]), count),
            "place": np.arange(count),
        }
    )
    pq.write_table(
        table,
        folder / "bare.parquet",
        compression="lz4",
        use_dictionary=["source"],
        write_statistics=False,
        row_group_size=ROW_GROUP,
    )


def _ingest(folder: Path, target: Path) -> None:
    run = Run(Store.open(target), resolve([load_preset("fast")]))
    for source in inputs_of([f"idx:{folder}"], run.store):
        ingest(run, source)


def _cpu(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
