"""What scoring costs: against its own matrix products, onnxruntime, Ray Data; memory; start.

    MNIST_DATA_DIR=… python tests/benchmarks/bench_scoring.py [--images 2000000] [--memory]

The files hold different images: MNIST's, each bent in a way of its own, in an order of its own;
zstd Parquet in and out. Every side runs as a process of its own, in turn; medians. onnxruntime and
Ray are no dependencies: where they are not installed their rows are left out, and it is said.
OPENBLAS_CORETYPE, if it is set, chooses NumPy's kernels and not onnxruntime's: unset it first.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_info

from mnist_pipeline.data.parquet import bytes_column

HIDDEN = (512, 256)
FILES = 4
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="the memory curve up to 4 million")
    parser.add_argument("--run", nargs=4, metavar=("SIDE", "FOLDER", "INPUT", "WORKERS"))
    arguments = parser.parse_args()
    if arguments.run:
        side, folder, given, workers = arguments.run
        SIDES[side](Path(folder), Path(given), int(workers))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_model(folder)
        small, large = arguments.images // 5, arguments.images
        _make_images(folder / "small", small)
        _make_images(folder / "large", large)
        _table(folder, small, large, arguments.repeats)
        if arguments.memory:
            _memory(folder, large)


def _table(folder: Path, small: int, large: int, repeats: int) -> None:
    rows: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        rows.setdefault(what, []).append(value)

    for _ in range(repeats):
        gemm = _measure(folder, "gemm", "small", CORES)[0]
        low, high = (_measure(folder, "ours", size, CORES) for size in ("small", "large"))
        slope = (high[0] - low[0]) / (large - small) * 1e6
        note("CPU µs an image, slope", slope)
        note("the three bare GEMMs, µs an image", gemm)
        note("CPU against the bare GEMMs [1.35]", slope / gemm)
        one = _measure(folder, "ours", "small", 1)
        note("one worker to two, wall [1.7]", one[1] / low[1])
        note("images a second, two workers", large / high[1])
        if _installed("onnxruntime", "onnx"):
            rival = min(_measure(folder, side, "large", CORES)[1] for side in ("onnx1", "onnx2"))
            note("wall against onnxruntime [1.0]", high[1] / rival)
        if _installed("onnxruntime", "onnx", "ray"):
            note(
                "wall against Ray Data [0.7]", high[1] / _measure(folder, "ray", "large", CORES)[1]
            )
        note("10 rows, process start to end, CPU s [1.5]", _ten_rows(folder))
    print(f"NumPy {np.__version__}, {_kernels()} kernels, {CORES} cores, {repeats} rounds")
    print(f"{'':48}{'median':>12}")
    for what, values in rows.items():
        spread = f"({min(values):.4g} to {max(values):.4g})"
        print(f"{what:48}{statistics.median(values):12.4g}  {spread}")
    for missing in ("onnxruntime", "onnx", "ray"):
        if not _installed(missing):
            print(f"{missing} is not installed: not compared")


def _kernels() -> str:
    """Which of OpenBLAS's kernels this processor, or the environment, made it choose."""
    return ", ".join(str(found.get("architecture", "?")) for found in threadpool_info())


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def _measure(folder: Path, side: str, size: str, workers: int) -> tuple[float, float]:
    """What a side says it took, in a process of its own: (CPU or µs, wall seconds)."""
    command = [sys.executable, __file__, "--run", side, str(folder), size, str(workers)]
    environment = {**os.environ, "RAY_DEDUP_LOGS": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    cpu, wall = json.loads(output.stdout.splitlines()[-1])
    return cpu, wall


def _cpu() -> float:
    """CPU seconds of this process and its ended children."""
    own, children = (
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


# --- what is scored -------------------------------------------------------------------------------


def _mnist() -> np.ndarray:
    path = Path(os.environ["MNIST_DATA_DIR"]) / "train-images-idx3-ubyte.gz"
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=16).reshape(-1, 784)


def _make_model(folder: Path) -> None:
    """A model of the size in question, published: trained a little, on MNIST."""
    sets = ["model.hidden=[512,256]", "train.epochs=2", "gate.min_accuracy=0", "gate.min_recall=0"]
    words = [word for setting in sets for word in ("--set", setting)]
    command = [str(Path(sys.executable).with_name("mnist-pipeline")), "train", "--source", "mnist"]
    place = ["--workspace", str(folder / "workspace"), "--engine", "plain", "--quiet"]
    subprocess.run([*command, *words, *place], check=True, stdout=subprocess.DEVNULL)


def _make_images(folder: Path, count: int) -> None:
    from mnist_pipeline.model.augment import Augmentation, Distorter

    folder.mkdir()
    base, rng = _mnist(), np.random.default_rng(count)
    bend = Augmentation(rotation=10, scale=0.1, shear=0.1, shift=1, elastic=0.8)
    distort = Distorter(bend, (28, 28), 8192, rng)
    bent = np.empty((8192, 784), np.uint8)
    schema = pa.schema([("id", pa.int64()), ("image", pa.binary(784))])
    done = 0
    for number in range(FILES):
        end = count * (number + 1) // FILES
        with pq.ParquetWriter(
            folder / f"{number}.parquet", schema, compression="zstd", use_dictionary=False
        ) as writer:
            while done < end:
                rows = min(8192, end - done)
                chosen = rng.integers(0, len(base), rows)
                images = distort(base[chosen], bent[:rows])
                table = pa.table(
                    [np.arange(done, done + rows), bytes_column(images)], schema=schema
                )
                writer.write_table(table)
                done += rows


# --- the sides ------------------------------------------------------------------------------------


def _say(cpu: float, wall: float) -> None:
    print(json.dumps([cpu, wall]))


def _ours(folder: Path, given: Path, workers: int) -> None:
    from mnist_pipeline.cli import main as command

    output = folder / "answers"
    shutil.rmtree(output, ignore_errors=True)
    words = ["score", str(folder / given), "--output", str(output), "--workers", str(workers)]
    before, start = _cpu(), time.perf_counter()
    code = command([*words, "--workspace", str(folder / "workspace"), "--quiet", "--json"])
    assert code == 0
    _say(_cpu() - before, time.perf_counter() - start)


def _gemm(folder: Path, given: Path, workers: int) -> None:
    """µs an image of the three products alone, at scoring's batch size, on every core at once."""
    del folder, given
    from mnist_pipeline.model.predictor import BATCH, EDGE
    from mnist_pipeline.model.threads import single_threaded_blas

    sizes = (784, *HIDDEN, 10)
    rows = BATCH + 2 * EDGE

    def products() -> None:
        rng = np.random.default_rng(0)
        weights = [rng.random((b, a), np.float32) for a, b in itertools.pairwise(sizes)]
        layers = [np.empty((b, rows), np.float32) for b in sizes[1:]]
        x = rng.random((rows, 784), np.float32).T
        for _ in range(1500):
            a = x
            for W, z in zip(weights, layers, strict=True):
                a = np.matmul(W, a, out=z)

    with single_threaded_blas():
        threads = [threading.Thread(target=products) for _ in range(workers)]
        before, start = _cpu(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    _say((_cpu() - before) / (workers * 1500 * rows) * 1e6, time.perf_counter() - start)


def _onnx_model(folder: Path) -> bytes:
    """The same network, normalizer folded in, as a graph: uint8 in, label and confidence out."""
    from onnx import TensorProto, helper, numpy_helper

    from mnist_pipeline.store.bundles import load_model

    bundle = load_model("digits", folder / "workspace")
    p = {name: array.astype(np.float64) for name, array in bundle.parameters.items()}
    scale, shift = bundle.normalizer.affine()  # type: ignore[misc]
    p["b1"] += p["W1"] @ shift
    p["W1"] *= scale
    tensors = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in p.items()]
    nodes = [helper.make_node("Cast", ["pixels"], ["a0"], to=TensorProto.FLOAT)]
    for layer in (1, 2, 3):
        inputs = [f"a{layer - 1}", f"W{layer}", f"b{layer}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"z{layer}"], transB=1))
        if layer < 3:
            nodes.append(helper.make_node("Relu", [f"z{layer}"], [f"a{layer}"]))
    nodes.append(helper.make_node("Softmax", ["z3"], ["p"], axis=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 784])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 10])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _session(model: bytes, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _answers(session, ids, images: np.ndarray) -> pa.Table:
    (p,) = session.run(["p"], {"pixels": images})
    labels = p.argmax(axis=1).astype(np.uint8)
    return pa.table({"id": ids, "label": labels, "confidence": p.max(axis=1)})


def _onnx_files(folder: Path, given: Path, workers: int, threads: int) -> None:
    """The same reader and writer around onnxruntime, a thread a file."""
    from mnist_pipeline.data.parquet import bytes_view

    model = _onnx_model(folder)
    output = folder / "onnx"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    waiting = sorted((folder / given).iterdir())
    lock = threading.Lock()

    def work() -> None:
        session = _session(model, threads)
        while True:
            with lock:
                if not waiting:
                    return
                path = waiting.pop()
            file = pq.ParquetFile(path, page_checksum_verification=True, buffer_size=1 << 16)
            writer = None
            for batch in file.iter_batches(8192, use_threads=False):
                table = _answers(session, batch["id"], bytes_view(batch["image"]))
                writer = writer or pq.ParquetWriter(
                    output / path.name, table.schema, compression="zstd", compression_level=1
                )
                writer.write_table(table)
            if writer:
                writer.close()

    before, start = _cpu(), time.perf_counter()
    threads_ = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads_:
        thread.start()
    for thread in threads_:
        thread.join()
    _say(_cpu() - before, time.perf_counter() - start)


def _ray(folder: Path, given: Path, workers: int) -> None:
    import ray

    model = _onnx_model(folder)
    output = folder / "ray"
    shutil.rmtree(output, ignore_errors=True)
    # Twice, or the readers hold every core that the models wait for, or the other way round.
    ray.init(num_cpus=2 * workers, include_dashboard=False, log_to_driver=False)

    class Reader:
        def __init__(self) -> None:
            self.session = _session(model, 1)

        def __call__(self, batch: pa.Table) -> pa.Table:
            column = batch["image"].combine_chunks()
            flat = np.frombuffer(column.buffers()[1], np.uint8)
            images = flat[column.offset * 784 : (column.offset + len(column)) * 784]
            return _answers(self.session, batch["id"], images.reshape(-1, 784))

    start = time.perf_counter()
    data = ray.data.read_parquet(str(folder / given))
    data = data.map_batches(Reader, batch_size=8192, batch_format="pyarrow", concurrency=workers)
    data.write_parquet(str(output))
    _say(0.0, time.perf_counter() - start)


SIDES = {
    "ours": _ours,
    "gemm": _gemm,
    "onnx1": lambda folder, given, workers: _onnx_files(folder, given, workers, 1),
    "onnx2": lambda folder, given, workers: _onnx_files(folder, given, 1, workers),
    "ray": _ray,
}


def _ten_rows(folder: Path) -> float:
    """CPU seconds of the command on a file of ten rows, interpreter and all."""
    path = folder / "ten.parquet"
    pq.write_table(pa.table({"image": bytes_column(_mnist()[:10])}), path)
    output = folder / "ten"
    shutil.rmtree(output, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("mnist-pipeline")), "score", str(path)]
    place = ["--output", str(output), "--workspace", str(folder / "workspace"), "--quiet"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, *place], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _memory(folder: Path, images: int) -> None:
    """Peak memory of the process for growing inputs."""
    print(f"{'images':>12}{'peak MB':>10}")
    for count in (images // 5, images, 2 * images):
        given = folder / f"memory{count}"
        _make_images(given, count)
        output = folder / "answers"
        shutil.rmtree(output, ignore_errors=True)
        command = [str(Path(sys.executable).with_name("mnist-pipeline")), "score", str(given)]
        place = ["--output", str(output), "--workspace", str(folder / "workspace"), "--quiet"]
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
            "stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        peak = subprocess.run(
            [sys.executable, "-c", code, *command, *place], check=True, capture_output=True
        )
        print(f"{count:12,}{int(peak.stdout) / 1024:10.0f}", flush=True)
        shutil.rmtree(given)


if __name__ == "__main__":
    main()
