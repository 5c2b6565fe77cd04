"""Prefect's share of a night, with a running server: the flow against the plain engine.

    python tests/benchmarks/bench_night_prefect.py

Whole processes, in turn; CPU seconds of a process and its children, and wall seconds; medians.
A night with new data trains a small model; a quiet night finds nothing new. Last, the same quiet
night as a scheduled run under a worker: its process has to start, and imports Prefect twice.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "flows")]

from nightly import Nights  # noqa: E402
from real import Prefect, wait_for  # noqa: E402

COMMAND = "import sys; from mnist_pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
SETTINGS = ("model.kind=softmax", "train.epochs=2", "gate.min_accuracy=0", "gate.min_recall=0")
Cost = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prefect = Prefect(folder / "server")
        try:
            prefect.start_server()
            print(f"{'':34}{'plain':>16}{'flow':>16}{'difference':>18}{'ratio':>8}")
            print(f"{'':34}{'CPU s   wall s':>16}{'CPU s   wall s':>16}{'CPU s   wall s':>18}")
            _engines(folder, prefect, repeats)
            _under_a_worker(folder, prefect, repeats)
        finally:
            prefect.stop()


def _engines(folder: Path, prefect: Prefect, repeats: int) -> None:
    costs: dict[str, list[Cost]] = {}
    for number in range(repeats + 1):  # the first of each warms the caches
        for status in ("promoted", "unchanged"):
            for engine in ("plain", "prefect"):
                workspace = folder / f"{engine}{number}"
                cost = _train(workspace, engine, prefect.environment, status)
                costs.setdefault(f"{status} {engine}", []).extend([cost] if number else [])
    for status, what in (("promoted", "night with new data, small"), ("unchanged", "quiet night")):
        _row(what, costs[f"{status} plain"], costs[f"{status} prefect"])
    print("bar: difference in wall s ≤ 3 (issue 5); quiet night, plain engine, CPU s ≤ 3")


def _train(workspace: Path, engine: str, environment: Mapping[str, str], status: str) -> Cost:
    words = ["train", "--json", "--quiet", "--engine", engine, "--workspace", str(workspace)]
    words += ["--source", "synthetic:n=2000"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], env=environment, capture_output=True, check=True
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert json.loads(done.stdout)["status"] == status
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def _row(what: str, plain: list[Cost], flow: list[Cost]) -> None:
    cpu = [statistics.median(cost[0] for cost in costs) for costs in (plain, flow)]
    wall = [statistics.median(cost[1] for cost in costs) for costs in (plain, flow)]
    differences = [
        statistics.median(b[i] - a[i] for a, b in zip(plain, flow, strict=True)) for i in (0, 1)
    ]
    print(
        f"{what:34}{cpu[0]:7.2f}{wall[0]:9.2f}{cpu[1]:7.2f}{wall[1]:9.2f}"
        f"{differences[0]:9.2f}{differences[1]:9.2f}{cpu[1] / cpu[0]:8.2f}",
        flush=True,
    )


def _under_a_worker(folder: Path, prefect: Prefect, repeats: int) -> None:
    """Wall seconds from a run's start to its end, and from asking for it to its end."""
    nights = Nights(prefect, folder / "nights")
    nights.training_alone()
    nights.configure(epochs=2)
    nights.new_data(seed=1)
    nights.deploy()
    prefect.start_worker(nights.elsewhere)
    took, asked = [], []
    for number in range(repeats + 1):
        started = time.perf_counter()
        run = nights.new_run()
        done = wait_for(lambda run=run: _done(nights, run), 120)
        if number:
            asked.append(time.perf_counter() - started)
            took.append(done["total_run_time"])
    print(
        f"{'quiet night under a worker':34}wall s: {statistics.median(took):.2f} from its start, "
        f"{statistics.median(asked):.2f} from when it is due"
    )


def _done(nights: Nights, run: dict) -> dict | None:
    found = nights.prefect.get(f"flow_runs/{run['id']}")
    return dict(found) if found["state"]["type"] == "COMPLETED" else None


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main()
