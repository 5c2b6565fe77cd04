"""Nights killed with SIGKILL at random instants: is anything published damaged, or lost?

    python tests/benchmarks/bench_night_kills.py --kills 100

Every night a file of new rows lands and a process of its own trains on all of them; it is killed at
a random instant and started again until one comes to its end. After every kill all that is visible
must verify; after every night there must be as many versions as where nobody killed, and a champion
with the same weights. Ends with 1 if not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash_zygote import inspect
from small import write_idx

from mnist_pipeline.sources.synthetic import draw_digits
from mnist_pipeline.store.objects import SCRATCH, Store
from mnist_pipeline.store.registry import Registry

COMMAND = str(Path(sys.executable).with_name("mnist-pipeline"))
SETTINGS = ("model.hidden=[32]", "train.epochs=3", "gate.min_accuracy=0", "gate.min_recall=0")
BASE, NEW, NIGHT_ROWS = 2_000, 500, 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    wrong: list[str] = []
    ends: Counter[str] = Counter()
    killed = night = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _base(folder)
        while killed < options.kills:
            night += 1
            _land(folder, night)
            started = time.perf_counter()
            if code := _start(folder, "undisturbed").wait():
                wrong.append(f"night {night} undisturbed: exit code {code}")
            seconds = time.perf_counter() - started
            for _ in range(rng.randint(1, 8)):
                killed += _killed(folder, rng.uniform(0, seconds))
                wrong += [f"kill {killed}: {fault}" for fault in _damage(folder / "killed")]
            if code := _start(folder, "killed").wait():
                wrong.append(f"night {night}, after kill {killed}: exit code {code}")
            expected, found = _published(folder / "undisturbed"), _published(folder / "killed")
            ends[str(expected["status"])] += 1
            if found != expected:
                wrong.append(f"night {night}, after kill {killed}: {found}, expected {expected}")
            wrong += [f"night {night}: {fault}" for fault in _debris(folder / "killed")]
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
    print(f"{killed} kills in {night} nights ({statuses}), {len(wrong)} faults", *wrong, sep="\n")
    sys.exit(bool(wrong))


def _base(folder: Path) -> None:
    labels = (np.arange(BASE + NEW) % 10).astype(np.uint8)
    images = draw_digits(labels, np.random.default_rng(0))
    write_idx(folder / "base", "train", images[:BASE], labels[:BASE])
    write_idx(folder / "base", "t10k", images[BASE:], labels[BASE:])
    (folder / "landing").mkdir()


def _land(folder: Path, night: int) -> None:
    """A new file in Kaggle's layout."""
    labels = (np.arange(NIGHT_ROWS) % 10).astype(np.uint8)
    images = draw_digits(labels, np.random.default_rng(night))
    header = ",".join(["label", *(f"pixel{k}" for k in range(images.shape[1]))])
    table = np.column_stack([labels, images])
    path = folder / "landing" / f"{night:03}.csv"
    np.savetxt(path, table, fmt="%d", delimiter=",", header=header, comments="")


def _start(folder: Path, workspace: str) -> subprocess.Popen[bytes]:
    sources = ["--source", f"idx:{folder / 'base'}", "--source", f"csv:{folder / 'landing'}/*.csv"]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    place = ["--workspace", str(folder / workspace), "--engine", "plain", "--quiet"]
    return subprocess.Popen(
        [COMMAND, "train", *sources, *settings, *place],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _killed(folder: Path, seconds: float) -> bool:
    """Starts a night and kills it after so many seconds; whether it was still there."""
    process = _start(folder, "killed")
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def _damage(workspace: Path) -> list[str]:
    """What is visible and not whole."""
    try:
        if workspace.exists():
            inspect(workspace)
    except Exception as error:  # whatever it is, it is what is looked for here
        return [f"{type(error).__name__}: {error}"]
    return []


def _published(workspace: Path) -> dict[str, object]:
    """How many versions there are, how the last night ended, and the champion's weights."""
    registry = Registry(Store.open(workspace))
    champion, last = registry.champion("digits"), registry.runs("digits").latest()
    weights = None
    if champion:
        manifest = registry.manifest("digits", champion.value["version"])
        weights = manifest.files["model.safetensors"].digest
    versions = len(registry.versions("digits"))
    return {
        "versions": versions,
        "status": last.value["status"] if last else None,
        "weights": weights,
    }


def _debris(workspace: Path) -> list[str]:
    return [f"scratch was left: {path.name}" for path in (workspace / SCRATCH).glob("*")]


if __name__ == "__main__":
    main()
