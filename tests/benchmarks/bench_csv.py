"""CSV → validated Parquet: clean against np.loadtxt, every row bad or odd against clean, memory.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_csv.py

The file is Kaggle's: 42,000 of MNIST's training images under a header. Both sides of a ratio take
turns in one process; CPU seconds, medians. Memory is the peak (VmHWM) of a process of its own.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from mnist_pipeline.configfile import load_preset, resolve
from mnist_pipeline.stages.ingest import Part, ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store

ROWS = 42_000
HEADER = ("label," + ",".join(f"pixel{k}" for k in range(784))).encode()
BAR_CLEAN, BAR_SPOILED, BAR_MEMORY = 1.8, 3.0, 20

Line = Callable[[bytes], bytes]


def pixel(cell: bytes) -> Line:
    """One pixel in the middle of the row is this."""
    return lambda line: b",".join([*(cells := line.split(b","))[:400], cell, *cells[401:]])


def label(cell: bytes) -> Line:
    return lambda line: cell + line[line.index(b",") :]


def every(form: Callable[[bytes], bytes]) -> Line:
    return lambda line: b",".join(map(form, line.split(b",")))


BAD: dict[str, Line] = {
    "one pixel 256": pixel(b"256"),
    "one pixel abc": pixel(b"abc"),
    "one pixel empty": pixel(b""),
    "one pixel 12.5": pixel(b"12.5"),
    "every cell 12.0": every(lambda cell: cell + b".0"),
    "a column too many": lambda line: line + b",0",
    "a column too few": lambda line: line[: line.rindex(b",")],
    "label 10": label(b"10"),
    "label missing": label(b""),
    "a byte that is not UTF-8": pixel(b"\xff"),
    "# before the row": lambda line: b"#" + line,
    "# and nothing else": lambda line: b"#",
}
GOOD: dict[str, Line] = {
    "1, 2, 3": lambda line: line.replace(b",", b", "),
    "+3": every(lambda cell: b"+" + cell),
    "007": every(lambda cell: cell.zfill(3)),
    "0007": every(lambda cell: cell.zfill(4)),
    "right-aligned by %4d": every(lambda cell: cell.rjust(4)),
    'quoted "3"': every(lambda cell: b'"' + cell + b'"'),
    "CRLF": lambda line: line + b"\r",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak-of", metavar="SPEC", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        with tempfile.TemporaryDirectory() as name:
            run_ingest(arguments.peak_of, Path(name))
        print(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clean, other = folder / "clean.csv", folder / "other.csv"
        lines = lines_of_mnist()
        write(clean, lines)
        compare("clean ÷ np.loadtxt", clean, lambda: read_text(clean), arguments.repeats, BAR_CLEAN)
        for kinds, rejected in (BAD, ROWS), (GOOD, 0):
            print(f"every row {'bad' if rejected else 'odd but good'} ÷ clean")
            for kind, spoil in kinds.items():
                write(other, map(spoil, lines))
                part = run_ingest(f"csv:{other}", folder / "once")
                if (part.rows, sum(part.rejected.values())) != (ROWS, rejected):
                    raise SystemExit(f"{kind}: {part.rows} rows, rejected {part.rejected}")
                again = lambda: run_ingest(f"csv:{clean}", folder / "once")  # noqa: E731
                compare(f"  {kind}", other, again, arguments.repeats, BAR_SPOILED)
        print(f"peak memory, 10 × the rows − the rows, at most +{BAR_MEMORY} MB")
        for kind, spoil in {"clean": bytes, "every row bad": BAD["one pixel abc"]}.items():
            peaks = []
            for times in 1, 10:
                write(other, (line for _ in range(times) for line in map(spoil, lines)))
                peaks.append(peak_of(f"csv:{other}"))
            print(f"  {kind:30}{peaks[1] - peaks[0]:+8.1f} MB ({peaks[0]:.0f} to {peaks[1]:.0f})")


def lines_of_mnist() -> list[bytes]:
    columns = []
    for name, header in ("train-labels-idx1-ubyte.gz", 8), ("train-images-idx3-ubyte.gz", 16):
        data = gzip.decompress((Path(os.environ["MNIST_DATA_DIR"]) / name).read_bytes())
        columns.append(np.frombuffer(data, np.uint8, offset=header).reshape(60_000, -1)[:ROWS])
    numbers = [str(value).encode() for value in range(256)]
    rows = np.concatenate(columns, axis=1).tolist()
    return [b",".join([numbers[value] for value in row]) for row in rows]


def write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.write(HEADER + b"\n")
        file.writelines(line + b"\n" for line in lines)


def read_text(path: Path) -> None:
    np.loadtxt(path, dtype=np.uint8, delimiter=",", skiprows=1)


def run_ingest(spec: str, workspace: Path) -> Part:
    try:
        run = Run(Store.open(workspace), resolve([load_preset("fast")]))
        (source,) = inputs_of([spec], run.store)
        return ingest(run, source)
    finally:
        shutil.rmtree(workspace)


def compare(what: str, path: Path, other: Callable[[], object], repeats: int, bar: float) -> None:
    """Prints the ratio of ingesting a file to something else, taken in turns."""
    ours, theirs = [], []
    for number in range(repeats + 1):
        pair = cpu(lambda: run_ingest(f"csv:{path}", path.parent / "once")), cpu(other)
        if number:  # the first round warms up
            ours.append(pair[0])
            theirs.append(pair[1])
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"{what:32}{statistics.median(ratios):6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), "
        f"at most {bar}; {statistics.median(ours):.2f} CPU s",
        flush=True,
    )


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_of(spec: str) -> float:
    """Peak memory of ingesting an input, in MB."""
    command = [sys.executable, __file__, "--peak-of", spec]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout) / 1000


if __name__ == "__main__":
    main()
