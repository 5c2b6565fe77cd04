"""Publishing into a bucket, against the same bytes written by obstore alone.

    python tests/benchmarks/bench_bucket.py --repeats 7 --delay 0.02

Both write to moto's S3 server over a wire whose every request takes `delay` seconds longer (a
bucket of a cloud answers after ten to a hundred milliseconds; 0 for none). Ours is the whole stage
`publish`: it reads the candidate, judges it, claims a version, writes its files, checks what it
names, makes it visible, promotes it and puts the run on record. obstore's is nothing but the puts
of the same objects, one after the other, and, for comparison, all at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore

sys.path.insert(0, str(Path(__file__).parents[1]))

from s3 import make_bucket, s3_server_in
from small import write_digits
from wire import Wire, wire_to

from mnist_pipeline import pipeline
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import backend_at

BUCKET = "s3://digits"
SETTINGS = ("train.epochs=1", "gate.min_accuracy=0", "gate.min_recall=0", "gate.rules=['floors']")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--hidden", default="[256,128]", help="units: how large the bundle is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, s3_server_in(Path(name)) as server:
        write_digits(Path(name), 2000, 1000)
        environment = make_bucket(server, "digits")
        with wire_to(server) as wire:
            os.environ.update(environment, AWS_ENDPOINT_URL=wire.url)
            _measure(wire, f"idx:{name}", options)


def _measure(wire: Wire, source: str, options: argparse.Namespace) -> None:
    ours, alone, at_once, calls = [], [], [], []
    for repeat in range(options.repeats + 1):
        with _timed_publish(wire, options.delay) as measured:
            _train(source, repeat, options.hidden)
        objects = _written(measured["before"])
        wire.delay = options.delay
        one_by_one = _put(objects, f"alone/{repeat}", 1)
        together = _put(objects, f"together/{repeat}", 16)
        wire.delay = 0
        if repeat:  # the first one pays for connections and imports
            ours.append(measured["seconds"])
            calls.append(measured["calls"])
            alone.append(one_by_one)
            at_once.append(together)
    sizes = sum(map(len, objects.values()))
    print(f"{len(objects)} objects, {sizes / 1e6:.2f} MB, {options.delay * 1000:.0f} ms a request")
    print(
        f"publish             {statistics.median(ours):.3f} s, {statistics.median(calls)} requests"
    )
    print(f"obstore one by one  {statistics.median(alone):.3f} s")
    print(f"obstore all at once {statistics.median(at_once):.3f} s")
    ratios = sorted(a / b for a, b in zip(ours, alone, strict=True))
    print(f"ratio to one by one {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")


def _train(source: str, seed: int, hidden: str) -> None:
    settings = (*SETTINGS, f"train.seed={seed}", f"model.hidden={hidden}")
    layers = [parse_setting(setting) for setting in settings]
    config = resolve([*layers, {"data": {"sources": [source]}}])
    pipeline.run_pipeline(Run(Store.open(f"{BUCKET}/workspace"), config))


@contextlib.contextmanager
def _timed_publish(wire: Wire, delay: float) -> Iterator[dict]:
    """Measures the stage `publish` of what runs inside; the line is slow for that stage alone."""
    measured: dict = {}
    publish = pipeline.publish

    def timed(run: Run, *results: object) -> object:
        measured["before"] = {info.key for info in run.store.list("models")}
        wire.forget()
        wire.delay = delay
        started = time.perf_counter()
        outcome = publish(run, *results)  # type: ignore[arg-type]
        measured["seconds"] = time.perf_counter() - started
        wire.delay = 0
        measured["calls"] = wire.calls
        return outcome

    pipeline.publish = timed  # type: ignore[assignment]
    try:
        yield measured
    finally:
        pipeline.publish = publish


def _written(before: set[str]) -> dict[str, bytes]:
    """What a run has added to the models of the workspace."""
    store = Store.open(f"{BUCKET}/workspace")
    new = [info.key for info in store.list("models") if info.key not in before]
    return {key: store.get(key) for key in new}


def _put(objects: dict[str, bytes], prefix: str, at_once: int) -> float:
    """Seconds that obstore takes to put objects below a prefix."""
    backend = backend_at(BUCKET, "bucket")
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        puts = [pool.submit(obstore.put, backend, f"{prefix}/{k}", v) for k, v in objects.items()]
        for put in puts:
            put.result()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
