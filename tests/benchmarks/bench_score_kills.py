"""A large scoring, killed with SIGKILL at random instants until it is done: what is wrong then?

    python tests/benchmarks/bench_score_kills.py --kills 50 --rows 2000000

Each job is a process of its own, killed at a random instant and started again until one comes to
its end; then from the beginning, until there were as many kills as asked for. After every kill what
is visible must be whole, and what was answered must be left as it is; after every end the answers
must be those of an undisturbed run, file by file, with nothing beside them. Ends with 1 if not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from score_zygote import wrong_with

from mnist_pipeline.data.parquet import bytes_column
from mnist_pipeline.score.outputs import record_of
from mnist_pipeline.sources.synthetic import draw_digits

COMMAND = str(Path(sys.executable).with_name("mnist-pipeline"))
DRAWN = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _train(folder)
        _make_files(folder / "in", options.rows, options.files)
        started = time.perf_counter()
        assert _start(folder, folder / "expected").wait() == 0
        seconds = time.perf_counter() - started
        print(f"{options.rows:,} rows, {seconds:.1f} s undisturbed", flush=True)
        wrong, runs = _kill(folder, options.kills, seconds, random.Random(options.seed))
    print(f"{options.kills} kills, {runs} runs that ended, {len(wrong)} faults", *wrong, sep="\n")
    sys.exit(bool(wrong))


def _kill(folder: Path, kills: int, seconds: float, rng: random.Random) -> tuple[list[str], int]:
    """What was found wrong, and how many runs came to their end."""
    output, expected = folder / "out", folder / "expected"
    wrong: list[str] = []
    done, killed, runs = _answered(output), 0, 0
    while killed < kills or done:
        process = _start(folder, output)
        try:
            code = process.wait(rng.uniform(0, seconds) if killed < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        place = f"after kill {killed}"
        now = _answered(output)
        wrong += [
            f"{place}: {name} was answered again" for name in done if now.get(name) != done[name]
        ]
        if code == -signal.SIGKILL:
            killed += 1
            wrong += [f"{place}: {fault}" for fault in wrong_with(output, None)]
            done = now
            continue
        runs += 1
        if code != 0:
            wrong.append(f"{place}: exit code {code}")
        wrong += [f"{place}: {fault}" for fault in wrong_with(output, expected)]
        shutil.rmtree(output)
        done = {}
    return wrong, runs


def _answered(output: Path) -> dict[str, int]:
    """When each visible file of answers was written, in ns."""
    return {
        path.name: path.stat().st_mtime_ns for path in output.glob("*.parquet") if record_of(path)
    }


def _start(folder: Path, output: Path) -> subprocess.Popen[bytes]:
    place = ["--output", str(output), "--workspace", str(folder / "workspace"), "--quiet"]
    return subprocess.Popen(
        [COMMAND, "score", str(folder / "in"), *place],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _train(folder: Path) -> None:
    words = ["--source", "synthetic:n=3000", "--engine", "plain", "--quiet"]
    sets = ["--set", "gate.min_accuracy=0", "--set", "gate.min_recall=0"]
    place = ["--workspace", str(folder / "workspace")]
    subprocess.run([COMMAND, "train", *words, *sets, *place], check=True, stdout=subprocess.DEVNULL)


def _make_files(folder: Path, rows: int, files: int) -> None:
    """Drawn digits in an order of each file's own."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    digits = draw_digits((np.arange(DRAWN) % 10).astype(np.uint8), rng)
    for number in range(files):
        chosen = rng.integers(0, DRAWN, rows // files)
        table = pa.table({"id": np.arange(len(chosen)), "image": bytes_column(digits[chosen])})
        path = folder / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=8192, compression="zstd")


if __name__ == "__main__":
    main()
