"""What a report costs: the profile of the training rows, the stage that takes it, the page.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_report.py

CPU milliseconds, medians, on MNIST's 60,000 training images; all sides take turns in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mnist_pipeline.configfile import load_preset, resolve
from mnist_pipeline.data.profile import Profiler
from mnist_pipeline.data.split import Side
from mnist_pipeline.evaluate.report import render
from mnist_pipeline.model.threads import single_threaded_blas
from mnist_pipeline.stages.ingest import ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.normalize import normalize
from mnist_pipeline.stages.resolve import resolved
from mnist_pipeline.stages.run import Run
from mnist_pipeline.stages.train import rows_of
from mnist_pipeline.stages.validate import validate
from mnist_pipeline.store.objects import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))
from report_samples import sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        source = {"data": {"sources": [f"idx:{os.environ['MNIST_DATA_DIR']}"]}}
        config = resolved(resolve([load_preset("fast"), source]))
        run = Run(Store.open(folder), config, force="normalize")
        snapshot = validate(run, [ingest(run, one) for one in inputs_of(config.data.sources, None)])
        images, labels = rows_of(run, snapshot, Side.TRAIN)
        data = sample(10_000)

        def profile() -> None:
            with single_threaded_blas():
                profiler = Profiler(run.contract)
                profiler.add(images, labels)
                profiler.profile().to_bytes()

        sides: dict[str, Callable[[], object]] = {
            "read the training rows": lambda: rows_of(run, snapshot, Side.TRAIN),
            "profile": profile,
            "stage normalize, whole": lambda: normalize(run, snapshot),
            "render a report": lambda: render(data),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(repeats + 1):
            for name, work in sides.items():
                started = time.process_time()
                work()
                if number:  # the first round warms up
                    seconds[name].append(time.process_time() - started)
    print(f"{len(images):,} rows{'':16}{'CPU ms (median)':>24}")
    for name, values in seconds.items():
        print(f"{name:32}{1000 * statistics.median(values):14.0f}")


if __name__ == "__main__":
    main()
