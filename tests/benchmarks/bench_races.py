"""Races of four publishers: is every version there, one champion at every moment, nothing lost?

    python tests/benchmarks/bench_races.py --races 100                # on disk and on S3 (moto)
    python tests/benchmarks/bench_races.py --races 5 --places bucket

In each race four processes train with seeds of their own, at once, in one workspace, where
every version is promoted; a fifth looks all the while who is champion. Afterwards every
version must verify and every run be on record once, and the champions' history must name each
promoted version once. Ends with 1 if not.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash_zygote import begun, ended, forked, train
from s3 import make_bucket, s3_server_in
from small import write_digits

from mnist_pipeline.store.bundles import verify_version
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

PUBLISHERS = 4
NAME = "digits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--races", type=int, default=100)
    parser.add_argument("--places", nargs="+", default=["folder", "bucket"])
    options = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_digits(folder / "idx")
        for place in options.places:
            if place == "folder":
                wrong += _races(place, folder, str(folder / "workspace"), options.races)
                continue
            with s3_server_in(folder) as server:
                os.environ.update(make_bucket(server, "digits"))
                wrong += _races(place, folder, "s3://digits/workspace", options.races)
    sys.exit(bool(wrong))


def _races(place: str, folder: Path, workspace: str, races: int) -> list[str]:
    """Runs the races, prints what came of them, and returns what was wrong."""
    source, over = f"idx:{folder / 'idx'}", folder / "over"
    over.unlink(missing_ok=True)
    started = time.perf_counter()
    watcher = begun(lambda: _watch(workspace, over))
    wrong: list[str] = []
    for race in range(races):
        start = time.time() + 0.2

        def publish(seed: int, start: float = start) -> str:
            time.sleep(max(0, start - time.time()))
            return train(source, workspace, f"train.seed={seed}", 'gate.rules=["floors"]')

        seeds = range(race * PUBLISHERS, (race + 1) * PUBLISHERS)
        racers = [begun(lambda seed=seed: publish(seed)) for seed in seeds]  # type: ignore[misc]
        for seed, racer in zip(seeds, racers, strict=True):
            answer = ended(racer)[1]
            if answer not in ("promoted", "held"):
                wrong.append(f"seed {seed} ended {answer}")
    over.touch()
    seen = ended(watcher)[1]
    counted = forked(lambda: _count(workspace, races * PUBLISHERS))[1]
    wrong += [words for words in (seen, counted) if not words.startswith("ok")]
    for words in wrong:
        print(f"{place:8} WRONG: {words}")
    seconds = time.perf_counter() - started
    print(f"{place:8} {races} races of {PUBLISHERS} in {seconds:.0f} s: {counted}; {seen}")
    return wrong


def _watch(workspace: str, over: Path) -> str:
    """Looks who is champion until it is over: always one, of a visible version, none before it."""
    registry = Registry(Store.open(workspace))
    looks = last = 0
    while not over.exists():
        champion = registry.champion(NAME)
        if champion is None:
            if last:
                return f"no champion after number {last}"
        else:
            if champion.sequence < last:
                return f"champion number {champion.sequence} after number {last}"
            registry.manifest(NAME, champion.value["version"])
            last = champion.sequence
            looks += 1
        time.sleep(0.02)
    return f"ok, looked at {looks} times"


def _count(workspace: str, expected: int) -> str:
    """What there is in the end."""
    store = Store.open(workspace)
    registry = Registry(store)
    versions = [info.version for info in registry.versions(NAME)]
    for version in versions:
        verify_version(store, registry.manifest(NAME, version))
    champions = registry.champions(NAME).history()
    runs = registry.runs(NAME).history()
    promoted = [run.value["version"] for run in runs if run.value["status"] == "promoted"]
    found = [
        (len(set(versions)) == expected, f"{len(versions)} versions"),
        (len({run.value["run"] for run in runs}) == len(runs) == expected, f"{len(runs)} runs"),
        (
            sorted(promoted) == sorted(entry.value["version"] for entry in champions)
            and [entry.sequence for entry in champions] == list(range(1, len(champions) + 1)),
            f"{len(champions)} champions, {len(promoted)} promoted",
        ),
    ]
    words = ", ".join(words for _, words in found)
    return f"ok, {words}" if all(right for right, _ in found) else words


if __name__ == "__main__":
    main()
