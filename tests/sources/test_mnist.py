"""The source `mnist`: found, verified, downloaded, and read as training and exam part."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from loopback import serving

from mnist_pipeline import plugins
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError, OutsideError
from mnist_pipeline.reporting import Silent, Step, listening
from mnist_pipeline.sources import mnist
from mnist_pipeline.sources.download import Wanted
from mnist_pipeline.sources.mnist import EXAM, TRAIN, Mnist

COUNTS = {"train": 50, "t10k": 20}


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def contents() -> dict[str, bytes]:
    """Four small IDX files by MNIST's names, without .gz."""
    rng = np.random.default_rng(3)
    files = {}
    for name, count in COUNTS.items():
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        files[f"{name}-images-idx3-ubyte"] = idx(images)
        files[f"{name}-labels-idx1-ubyte"] = idx(rng.integers(0, 10, count, dtype=np.uint8))
    return files


@pytest.fixture(autouse=True)
def small_mnist(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The small files take MNIST's place; nothing is taken from the surroundings."""
    if "integration" in request.keywords:
        return
    for name in ("MNIST_DATA_DIR", "MNIST_PIPELINE_CACHE", "MNIST_PIPELINE_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    wanted = [
        Wanted(f"{name}.gz", hashlib.sha256(data).hexdigest(), len(data))
        for name, data in contents().items()
    ]
    monkeypatch.setattr(mnist, "TRAIN", tuple(wanted[:2]))
    monkeypatch.setattr(mnist, "EXAM", tuple(wanted[2:]))
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:1",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the four files, gzipped."""
    path = tmp_path / "mnist"
    path.mkdir()
    for name, data in contents().items():
        (path / f"{name}.gz").write_bytes(gzip.compress(data))
    return path


@pytest.fixture
def mirror(folder: Path) -> Iterator[str]:
    """A web server for that folder."""
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder.parent))
    )
    with serving(server) as address:
        yield f"{address}/{folder.name}"


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_parts_are_the_training_images_and_the_exam(folder: Path) -> None:
    train, exam = Mnist(dir=str(folder)).parts()
    assert (train.name, train.role) == ("train-images-idx3-ubyte.gz", "train")
    assert (exam.name, exam.role) == ("t10k-images-idx3-ubyte.gz", "exam")
    for part, name in ((train, "train"), (exam, "t10k")):
        (block,) = part.read(ImageContract())
        assert block.images.tobytes() == contents()[f"{name}-images-idx3-ubyte"][16:]
        assert block.labels is not None
        assert block.labels.tolist() == list(contents()[f"{name}-labels-idx1-ubyte"][8:])


@pytest.mark.parametrize("spelling", ["{}-idx{}", "{}.idx{}", "{}-idx{}.gz", "{}.idx{}.gz"])
def test_files_are_found_in_every_spelling(tmp_path: Path, spelling: str) -> None:
    for name, data in contents().items():
        before, after = name.split("-idx")
        path = tmp_path / spelling.format(before, after)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    train, exam = Mnist(dir=str(tmp_path)).parts()
    assert {path.parent for path in (*train.paths, *exam.paths)} == {tmp_path}
    assert sum(len(block) for block in train.read(ImageContract())) == COUNTS["train"]


def test_the_option_wins_over_the_variable_and_both_over_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [shutil.copytree(folder, tmp_path / name) for name in ("variable", "cache")]
    monkeypatch.setenv("MNIST_DATA_DIR", str(others[0]))
    by_option = Mnist(dir=str(folder), cache=str(others[1])).parts()
    by_variable = Mnist(cache=str(others[1])).parts()
    assert by_option[0].paths[0].parent == folder
    assert by_variable[0].paths[0].parent == others[0]
    assert by_option[0].identity() == by_variable[0].identity()


def test_a_named_folder_that_lacks_files_is_not_filled_by_a_download(
    folder: Path, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = shutil.copytree(folder, tmp_path / "named")
    (named / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setenv("MNIST_DATA_DIR", str(named))
    with pytest.raises(DataError) as caught:
        Mnist(mirrors=mirror).parts()
    assert caught.value.facts["missing"] == "t10k-labels-idx1-ubyte.gz"
    assert "1 of 4" in caught.value.headline


def test_a_named_folder_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lost does not hold 4 of 4 MNIST files"):
        Mnist(dir=str(tmp_path / "lost")).parts()


def test_a_changed_file_in_a_named_folder_is_refused(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte.gz"
    data = bytearray(contents()["train-labels-idx1-ubyte"])
    data[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(data)))
    part, _ = Mnist(dir=str(folder)).parts()
    with pytest.raises(DataError, match="is not the file"):
        part.identity()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz is not the file") as caught:
        part.read(ImageContract())
    assert caught.value.facts["expected"].startswith(f"sha256 {mnist.TRAIN[1].sha256}")
    assert caught.value.facts["found"] == f"sha256 {hashlib.sha256(data).hexdigest()}"
    assert "idx:DIR" in caught.value.remedy


def test_a_folder_in_a_files_place_is_explained(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte.gz"
    path.unlink()
    path.mkdir()
    part, _ = Mnist(dir=str(folder)).parts()
    with pytest.raises(DataError, match="is a directory"):
        part.identity()


class Steps(Silent):
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def step(self, step: Step) -> None:
        self.steps.append(step)


def test_what_is_missing_is_downloaded_once(mirror: str, tmp_path: Path) -> None:
    cache = tmp_path / "downloads"
    seen = Steps()
    source = Mnist(cache=str(cache), mirrors=f" http://127.0.0.1:1, {mirror}/ ")
    with listening(seen):
        parts = source.parts()
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{n}.gz" for n in contents())
    assert {step.note for step in seen.steps} == {f"downloading {n}.gz" for n in contents()}
    assert all(0 < step.done <= step.total for step in seen.steps)
    (block,) = parts[1].read(ImageContract())
    assert len(block) == COUNTS["t10k"]
    seen.steps.clear()
    with listening(seen):
        Mnist(cache=str(cache), mirrors="http://127.0.0.1:1").parts()
    assert seen.steps == []


def test_a_damaged_download_is_replaced(folder: Path, mirror: str, tmp_path: Path) -> None:
    cache = shutil.copytree(folder, tmp_path / "downloads")
    path = cache / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    Mnist(cache=str(cache), mirrors=mirror).parts()
    assert path.read_bytes() == (folder / path.name).read_bytes()


def test_variables_name_the_cache_and_the_mirrors(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_PIPELINE_MIRRORS", mirror)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    (part, _) = Mnist().parts()
    assert part.paths[0].parent == tmp_path / "xdg" / "mnist-pipeline"
    monkeypatch.setenv("MNIST_PIPELINE_CACHE", str(tmp_path / "own"))
    (part, _) = Mnist().parts()
    assert part.paths[0].parent == tmp_path / "own"


def test_without_any_mirror_the_error_names_the_ways_on(tmp_path: Path) -> None:
    with pytest.raises(OutsideError) as caught:
        Mnist(cache=str(tmp_path / "downloads")).parts()
    assert "http://127.0.0.1:1: " in caught.value.facts["mirrors"]
    for way in ("MNIST_DATA_DIR", "--source synthetic", "--source idx:DIR"):
        assert way in caught.value.remedy


def test_the_plugin_is_found_under_its_name(folder: Path) -> None:
    source = plugins.build("source", "mnist", {"dir": str(folder)})
    assert [part.role for part in source.parts()] == ["train", "exam"]


@pytest.mark.integration
def test_the_published_files_are_recognised() -> None:
    folder = os.environ.get("MNIST_DATA_DIR", "")
    if not folder:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's four files")
    assert [w.size for w in (*TRAIN, *EXAM)] == [47_040_016, 60_008, 7_840_016, 10_008]
    train, exam = Mnist().parts()
    labels = [
        np.concatenate([block.labels for block in part.read(ImageContract())])
        for part in (train, exam)
    ]
    assert [len(part) for part in labels] == [60_000, 10_000]
    assert labels[0][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(labels[1]).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
