"""What conversions cost: CPU against bare reads and writes, rows a CPU second, peak memory.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_convert.py [--large 600000] [--only ratios]

Ratios: both sides take turns in one process on the same files, medians of CPU seconds. Pairs: whole
processes, imports taken off; the large set is MNIST's training images over and over.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.convert.conversion import convert
from mnist_pipeline.convert.formats import Form
from mnist_pipeline.data.parquet import ROW_GROUP, bytes_column
from mnist_pipeline.reporting import Silent

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
SMALL = 60_000

# Source format and what is written; in an order in which every source has been written before.
PAIRS = (
    ("idx", ["idx"]),
    ("idx", ["csv"]),
    ("idx", ["csv", "--compress"]),
    ("idx", ["parquet"]),
    ("idx", ["parquet", "--layout", "columns"]),
    ("idx", ["png"]),
    ("csv", ["parquet"]),
    ("parquet", ["csv"]),
    ("png", ["idx"]),
)
CHILD = """
import json, re, sys, time
from mnist_pipeline.cli import main
import mnist_pipeline.convert.conversion, mnist_pipeline.configfile, PIL.PngImagePlugin

def peak():  # not getrusage: its peak is the parent's too
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

imported, started = peak(), time.process_time()
code = main(sys.argv[1:])
print(json.dumps([code, time.process_time() - started, imported, peak()]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", type=int, default=600_000)
    parser.add_argument("--only", choices=["ratios", "pairs", "make"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "ratios"):
            _ratios(folder, options.repeats)
        if options.only in (None, "pairs"):
            _pairs(folder, [SMALL, options.large])
        if options.only in (None, "make"):
            _make(folder, [SMALL, 1_000_000])


def _mnist(folder: Path, rows: int) -> Path:
    """`rows` of MNIST's training images as plain IDX, repeated where there are not enough."""
    folder.mkdir()
    whole, rest = divmod(rows, SMALL)
    for name, head in zip(FILES, (16, 8), strict=True):
        plain = gzip.decompress((Path(os.environ["MNIST_DATA_DIR"]) / f"{name}.gz").read_bytes())
        size = (len(plain) - head) // SMALL
        with (folder / name).open("wb") as file:
            file.write(plain[:4] + rows.to_bytes(4, "big") + plain[8:head])
            for _ in range(whole):
                file.write(plain[head:])
            file.write(plain[head : head + rest * size])
    return folder


def _ratios(folder: Path, repeats: int) -> None:
    few, all_rows = _mnist(folder / "few", 6_000), _mnist(folder / "all", SMALL)
    target = folder / "bare"
    header = ",".join(["label", *(f"pixel{k}" for k in range(784))])

    def load(source: Path) -> tuple[np.ndarray, np.ndarray]:
        images = np.fromfile(source / FILES[0], np.uint8, offset=16).reshape(-1, 784)
        return images, np.fromfile(source / FILES[1], np.uint8, offset=8)

    def savetxt(source: Path) -> None:
        images, labels = load(source)
        table = np.column_stack([labels, images])
        np.savetxt(target, table, "%d", ",", header=header, comments="")

    def write_table(source: Path) -> None:
        images, labels = load(source)
        table = pa.table({"label": labels, "image": bytes_column(images)})
        options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
        options |= {"use_dictionary": False, "write_statistics": False}
        pq.write_table(table, target, row_group_size=ROW_GROUP, **options)

    print(f"{'idx → …, CPU against np.fromfile and a bare writer':54}{'ratio':>8}")
    for what, form, name, source, bare in (
        ("csv, 6,000 rows, np.savetxt", Form("csv"), "x.csv", few, savetxt),
        (
            "parquet, 60,000 rows, pq.write_table",
            Form("parquet"),
            "x.parquet",
            all_rows,
            write_table,
        ),
    ):
        ratios = []
        for number in range(repeats + 1):
            ours = _cpu(_convert, source, folder / name, form)
            theirs = _cpu(bare, source)
            if number:  # the first round warms up
                ratios.append(ours / theirs)
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {what:52}{statistics.median(ratios):8.2f}  {spread}", flush=True)


def _convert(source: Path, output: Path, form: Form) -> None:
    options = {"max_reject_fraction": 0.01, "overwrite": True, "store": None}
    convert([f"idx:{source}"], output, form, reporter=Silent(), **options)


def _cpu(work: Callable[..., None], *arguments: Path | Form) -> float:
    started = time.process_time()
    work(*arguments)
    return time.process_time() - started


def _pairs(folder: Path, sizes: list[int]) -> None:
    print(f"\n{'':32}{'rows':>10}{'rows/CPU-s':>12}{'peak MB':>10}{'over imports':>14}")
    for rows in sizes:
        made = {"idx": f"idx:{_mnist(folder / f'mnist{rows}', rows)}"}
        for source, words in PAIRS:
            end = {"csv": ".csv.gz" if "--compress" in words else ".csv", "parquet": ".parquet"}
            output = folder / f"{rows}-{source}-{'-'.join(words)}{end.get(words[0], '')}"
            _report(f"{source} → {' '.join(words)}", rows, ["convert", made[source]], words, output)
            if len(words) == 1 and words[0] not in made:
                made[words[0]] = f"{words[0]}:{output}"
            else:
                _remove(output)
        for spec in made.values():
            _remove(Path(spec.partition(":")[2]))


def _make(folder: Path, sizes: list[int]) -> None:
    for rows in sizes:
        words = ["make", "--rows", str(rows)]
        _report("make → idx", rows, words, ["idx"], folder / f"made{rows}")
        _remove(folder / f"made{rows}")


def _report(what: str, rows: int, words: list[str], form: list[str], output: Path) -> None:
    command = [sys.executable, "-c", CHILD, "data", *words, "--output", str(output), "--quiet"]
    done = subprocess.run([*command, "--format", *form], capture_output=True, check=True)
    code, cpu, before, peak = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    print(f"{what:32}{rows:10,}{rows / cpu:12,.0f}{peak:10.0f}{peak - before:14.0f}", flush=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    main()
