"""What the command line costs beside the work: --help, everything around training, Prefect.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_commands.py

Whole processes, in turn, medians; CPU and wall seconds from the operating system.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = Path(sys.executable).with_name("mnist-pipeline")
PREFECT = Path(sys.executable).with_name("prefect")
SMALL = ["--source", "synthetic:n=2000", "--set", "model.kind=softmax", "--set", "train.epochs=2"]
SMALL += ["--set", "gate.min_accuracy=0", "--set", "gate.min_recall=0"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'':58}{'median':>8}{'bar':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _help(repeats)
        _around_training(folder, repeats)
        _prefect(folder, repeats)


def _row(what: str, values: list[float], bar: float) -> None:
    spread = f"({min(values):.2f} to {max(values):.2f})"
    print(f"{what:58}{statistics.median(values):8.2f}{bar:8.2f}  {spread}", flush=True)


def _help(repeats: int) -> None:
    over = []
    for _ in range(3 * repeats):
        ours = _cpu([str(COMMAND), "--help"])
        over.append(ours - _cpu([sys.executable, "-c", "pass"]))
    _row("--help over `python -c pass`, CPU s", over, 0.35)


def _around_training(folder: Path, repeats: int) -> None:
    rest = []
    for number in range(repeats):
        workspace = folder / f"plain{number}"
        words = ["--source", "mnist", "--preset", "fast", "--engine", "plain"]
        seconds, answer = _train([*words, "--workspace", str(workspace)], os.environ)
        memos = [json.loads(memo.read_text()) for memo in (workspace / "stages").iterdir()]
        (loop,) = (memo["facts"]["loop_seconds"] for memo in memos if memo["stage"] == "train")
        assert answer["status"] == "promoted"
        rest.append(seconds - loop)
    _row("fast on MNIST, plain: all but the training loop, wall s", rest, 6)


def _prefect(folder: Path, repeats: int) -> None:
    environment = {**os.environ, "PREFECT_HOME": str(folder / "home")}
    environment.pop("PREFECT_API_URL", None)
    timings: dict[str, list[float]] = {"running": [], "none": []}
    with _server(folder, environment) as running:
        for number in range(repeats + 1):
            plain = _small(folder / f"a{number}", "plain", environment)
            with_server = _small(folder / f"b{number}", "prefect", running)
            if number:
                timings["running"].append(with_server - plain)
    for number in range(repeats + 1):
        plain = _small(folder / f"c{number}", "plain", environment)
        ephemeral = _small(folder / f"d{number}", "prefect", environment)
        if number == 0:
            print(f"{'  (the first run on a fresh home:':58}{ephemeral - plain:8.2f})")
        else:
            timings["none"].append(ephemeral - plain)
    _row("Prefect over plain, server running, wall s", timings["running"], 3)
    _row("Prefect over plain, no server, wall s", timings["none"], 20)


def _small(workspace: Path, engine: str, environment: dict[str, str]) -> float:
    words = [*SMALL, "--engine", engine, "--workspace", str(workspace)]
    return _train(words, environment)[0]


def _train(words: list[str], environment: dict[str, str] | os._Environ) -> tuple[float, dict]:
    started = time.perf_counter()
    done = subprocess.run(
        [str(COMMAND), "train", "--json", "--quiet", *words],
        env=environment,
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - started, json.loads(done.stdout)


def _cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def _server(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    command = [str(PREFECT), "server", "start", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command,
            env={**environment, "PREFECT_HOME": str(folder / "server")},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            for _ in range(240):
                time.sleep(0.5)
                try:
                    urllib.request.urlopen(f"{api}/health")
                    break
                except OSError:
                    continue
            yield {**environment, "PREFECT_API_URL": api}
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


if __name__ == "__main__":
    main()
