"""Faults between the calls of a store: is anything half-visible, is a champion lost?

    python tests/benchmarks/bench_faults.py                 # every position, on disk and on S3
    python tests/benchmarks/bench_faults.py --every 7 --places bucket

A small training is disturbed at its n-th call, for every n, once as the first of its workspace and
once where it replaces a champion: by an error, a line that is cut before or in the middle of an
answer, a request without answer, a success whose answer is lost, and by a store that fails from
there on. Afterwards all that is visible must verify, and the next run must end well. On S3 (moto)
the client tries again, so most runs end as if nothing had been. Ends with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from s3 import make_bucket, s3_server_in
from small import write_digits

from mnist_pipeline.store.places import TIMEOUT

FAULTS = {
    "folder": "error,lost,error+,lost+",
    "bucket": "error,cut,half,hang,lost,error+,lost+",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="only at every n-th call")
    parser.add_argument("--places", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--faults", help="of these kinds only, with commas between them")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_digits(folder / "idx")
        for place in options.places:
            faults = options.faults or FAULTS[place]
            wrong += _disturb(folder, place, faults, options.every)
    sys.exit(bool(wrong))


def _disturb(folder: Path, place: str, faults: str, every: int) -> int:
    """Prints how runs ended; returns how much was wrong."""
    if place == "folder":
        return _report(place, folder, str(folder / "workspaces"), faults, every, {})
    with s3_server_in(folder) as server:
        environment = make_bucket(server, "digits")
        return _report(place, folder, "s3://digits/workspaces", faults, every, environment)


def _report(
    place: str, folder: Path, where: str, faults: str, every: int, environment: dict[str, str]
) -> int:
    command = [
        sys.executable,
        Path(__file__).parents[1] / "fault_zygote.py",
        folder / "idx",
        where,
        faults,
    ]
    found = json.loads(
        subprocess.run(
            [*map(str, command), "1", str(every)],
            env={**os.environ, TIMEOUT: "0.5", **environment},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    for ended, count in found["ends"].items():
        print(f"{place:8} {ended:20} {count:5}")
    for words in found["wrong"]:
        print(f"{place:8} WRONG: {words}")
    print(f"{place:8} {sum(found['ends'].values())} disturbed runs, {len(found['wrong'])} wrong")
    return len(found["wrong"])


if __name__ == "__main__":
    main()
