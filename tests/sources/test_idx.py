"""IDX files: pairs are found by their names, and no header is believed."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnist_pipeline.contract.records import Records
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.plugins import build
from mnist_pipeline.sources.idx import Idx, IdxPart, read_idx

CONTRACT = ImageContract()
Array = NDArray[np.uint8]


def header(*sizes: int, type_code: int = 8) -> bytes:
    return struct.pack(f">HBB{len(sizes)}I", 0, type_code, len(sizes), *sizes)


def idx(values: Array) -> bytes:
    """An array as an IDX file of unsigned bytes."""
    return (
        struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


def digits(n: int, seed: int = 0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    return images, random.integers(0, 256, n, dtype=np.uint8)


def write_pair(folder: Path, images: bytes, labels: bytes) -> tuple[Path, Path]:
    paths = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    paths[0].write_bytes(images)
    paths[1].write_bytes(labels)
    return paths


def read(folder: Path, images: bytes, labels: bytes) -> list[Records]:
    return list(read_idx(*write_pair(folder, images, labels), CONTRACT))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("n", [1, 3, 8192, 8193, 20000])
def test_what_is_written_is_read(tmp_path: Path, n: int, pack: Callable[[bytes], bytes]) -> None:
    images, labels = digits(n)
    images[:, 4:] = 0  # packs faster
    blocks = read(tmp_path, pack(idx(images)), pack(idx(labels)))
    # Compared when all blocks have been read: none may have changed under the next one.
    np.testing.assert_array_equal(np.concatenate([b.images for b in blocks]), images.reshape(n, -1))
    np.testing.assert_array_equal(np.concatenate([b.labels for b in blocks]), labels)
    np.testing.assert_array_equal(np.concatenate([b.places for b in blocks]), np.arange(n))
    for block in blocks:
        assert block.images.dtype == np.uint8
        assert block.images.flags.c_contiguous
        assert block.labels is not None
        assert block.labels.dtype == block.places.dtype == np.int64
        assert block.source == "train-images-idx3-ubyte"
        assert block.rejects == ()
        assert 0 < len(block) <= 8192


def test_without_labels(tmp_path: Path) -> None:
    images, _ = digits(5)
    path = tmp_path / "anything.bin"
    path.write_bytes(gzip.compress(idx(images)))
    (part,) = Idx(str(path), labelled=False).parts()
    (block,) = part.read(CONTRACT)
    assert block.labels is None
    assert part.paths == (path,)
    np.testing.assert_array_equal(block.images, images.reshape(5, -1))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(
    ("images", "labels", "role"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "train"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "train"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte", "train"),
        ("train-images.idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "train"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "exam"),
        ("test-images.idx3-ubyte", "test-labels.idx1-ubyte", "exam"),
        ("emnist-digits-test-images-idx3-ubyte", "emnist-digits-test-labels-idx1-ubyte", "exam"),
        ("latest-images-idx3-ubyte", "latest-labels-idx1-ubyte", "train"),
        ("IMAGES.IDX3", "LABELS.IDX1", "train"),
    ],
)
def test_pairs_are_found_by_name(tmp_path: Path, images: str, labels: str, role: str) -> None:
    touch(tmp_path, images, labels, "README.md", "train-images-idx3-ubyte.gz.part")
    expected = [IdxPart(images, role, tmp_path / images, tmp_path / labels)]  # type: ignore[arg-type]
    assert Idx(str(tmp_path)).parts() == expected
    assert Idx(str(tmp_path / images)).parts() == expected


def test_train_comes_before_exam_and_plain_before_gzip(tmp_path: Path) -> None:
    stems = "t10k-{}-ubyte", "train-{}-ubyte", "more-train-{}-ubyte"
    for stem in stems:
        for kind in "images-idx3", "labels-idx1":
            touch(tmp_path, stem.format(kind), stem.format(kind) + ".gz")
    parts = build("source", "idx", {"path": str(tmp_path)}).parts()
    assert [(part.name, part.role) for part in parts] == [
        ("more-train-images-idx3-ubyte", "train"),
        ("train-images-idx3-ubyte", "train"),
        ("t10k-images-idx3-ubyte", "exam"),
    ]
    assert [path.suffix for part in parts for path in part.paths] == [""] * 6


@pytest.mark.parametrize(
    ("names", "path", "headline"),
    [
        (["train-images-idx3-ubyte"], "", "train-images-idx3-ubyte has no file of labels"),
        (["train-labels-idx1-ubyte.gz"], "", "train-labels-idx1-ubyte.gz has no file of images"),
        (["train-images-idx3-ubyte"], "train-images-idx3-ubyte", "has no file of labels"),
        (
            ["train-labels-idx1-ubyte"],
            "train-labels-idx1-ubyte",
            "not called like a file of images",
        ),
        (["scans.bin"], "scans.bin", "is not called like a file"),
        (["scans.bin"], "", "there are no IDX files"),
        ([], "", "there are no IDX files"),
        ([], "nowhere", "nowhere does not exist"),
        (["a-images-idx3", "a-images.idx3", "a-labels-idx1"], "", "are the same part twice"),
    ],
)
def test_what_is_not_a_pair_is_said(
    tmp_path: Path, names: list[str], path: str, headline: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=headline) as caught:
        Idx(str(tmp_path / path)).parts()
    assert caught.value.remedy
    assert str(tmp_path) not in caught.value.headline
    assert any(str(tmp_path) in str(value) for value in caught.value.facts.values())


def test_a_directory_in_place_of_the_labels_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train-images-idx3-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").mkdir()
    with pytest.raises(DataError) as caught:
        Idx(str(tmp_path)).parts()
    assert caught.value.facts["expected"].startswith("train-labels-idx1-ubyte or ")
    assert caught.value.facts["found"] == "a directory of that name"


def test_a_directory_called_like_images_does_not_hide_the_file(tmp_path: Path) -> None:
    """Kaggle's archive has both train-images.idx3-ubyte and a folder train-images-idx3-ubyte."""
    touch(tmp_path, "train-images.idx3-ubyte", "train-labels.idx1-ubyte")
    for name in "train-images-idx3-ubyte", "train-labels-idx1-ubyte":
        (tmp_path / name).mkdir()
    (part,) = Idx(str(tmp_path)).parts()
    assert part.name == "train-images.idx3-ubyte"


def test_the_path_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="needs the option 'path'"):
        build("source", "idx", {})


IMAGES, LABELS = map(idx, digits(3))
packed = partial(gzip.compress, mtime=0)  # the time would be part of the test's name


@pytest.mark.parametrize(
    ("images", "labels", "headline", "found"),
    [
        (b"", LABELS, "images-idx3-ubyte is empty", None),
        (packed(b""), LABELS, "images-idx3-ubyte is empty", None),
        (IMAGES, b"", "labels-idx1-ubyte is empty", None),
        (IMAGES[:2], LABELS, "is not an IDX file of images", "bytes 00 00"),
        (IMAGES[:11], LABELS, "ends inside its header", None),
        (b"PK\3\4" + IMAGES, LABELS, "is not an IDX file of images", "bytes 50 4b 03 04"),
        (LABELS, IMAGES, "is not an IDX file of images", "uint8, dimensions: 1"),
        (header(3, 28, 28, type_code=0xD), LABELS, "not an IDX file", "float32, dimensions: 3"),
        (header(3, 28, 28, 1), LABELS, "is not an IDX file of images", "uint8, dimensions: 4"),
        (IMAGES[:-1], LABELS, "images-idx3-ubyte is shorter", "2,367 bytes"),
        (IMAGES + b"\0", LABELS, "images-idx3-ubyte is longer", "2,369 bytes"),
        (IMAGES, LABELS + b"\0", "labels-idx1-ubyte is longer", "12 bytes"),
        (header(*[0xFFFFFFFF] * 3), LABELS, "images-idx3-ubyte is shorter", "16 bytes"),
        (packed(header(*[0xFFFFFFFF] * 3)), LABELS, "is shorter", "bytes of gzip"),
        (packed(header(10**9, 28, 28)), LABELS, "is shorter", "bytes of gzip"),
        (packed(IMAGES[:-1]), LABELS, "images-idx3-ubyte is shorter", "an early end"),
        (packed(IMAGES + b"\0"), LABELS, "is longer", "more than 2,368 bytes"),
        (IMAGES, packed(LABELS + b"\0"), "labels-idx1-ubyte is longer", "more than 11"),
        (packed(IMAGES) + b"junk", LABELS, "images-idx3-ubyte is a damaged gzip", None),
        (packed(IMAGES)[:-9], LABELS, "images-idx3-ubyte is a damaged gzip", None),
        (packed(IMAGES)[:-8] + bytes(8), LABELS, "images-idx3-ubyte is a damaged", None),
        (b"\x1f\x8b\x08\0" + b"\xff" * 90, LABELS, "images-idx3-ubyte is a damaged gzip", None),
        (idx(digits(4)[0]), LABELS, "their counts differ", "3 labels"),
        (header(0, 28, 28), header(0), "holds no images", None),
        (idx(np.zeros((3, 27, 28), np.uint8)), LABELS, "of another size", "27 × 28 pixels"),
        (header(3, 0, 28), LABELS, "of another size", "0 × 28 pixels"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_named(
    tmp_path: Path, images: bytes, labels: bytes, headline: str, found: str | None
) -> None:
    with pytest.raises(DataError, match=headline) as caught:
        read(tmp_path, images, labels)
    assert caught.value.exit_code == 3
    assert caught.value.headline.startswith("train-")
    assert caught.value.facts["file"].startswith(str(tmp_path))
    assert caught.value.remedy
    if found is not None:
        assert found in caught.value.facts["found"]


def test_both_headers_are_checked_before_the_first_row(tmp_path: Path) -> None:
    paths = write_pair(tmp_path, idx(digits(3)[0]), idx(digits(4)[1]))
    with pytest.raises(DataError, match="counts differ"):
        next(read_idx(*paths, CONTRACT))


@pytest.mark.parametrize("claimed", [1, 50_000])
def test_a_gzip_bomb_takes_no_memory(tmp_path: Path, claimed: int) -> None:
    """40 MB of zeros in 40 kB, under a header that claims much less, and as much as it holds."""
    images = gzip.compress(header(claimed, 28, 28) + bytes(40_000_000), compresslevel=1)
    paths = write_pair(tmp_path, images, idx(np.zeros(claimed, np.uint8)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="than its header claims"):
            for _ in read_idx(*paths, CONTRACT):
                pass
        assert tracemalloc.get_traced_memory()[1] < 25_000_000
    finally:
        tracemalloc.stop()


def test_the_identity_is_that_of_both_files(tmp_path: Path) -> None:
    seen = set()
    for case, (images, labels) in enumerate(
        [(IMAGES, LABELS), (IMAGES, LABELS[:-1] + b"\7"), (IMAGES[:-1] + b"\7", LABELS)]
    ):
        folder = tmp_path / str(case)
        folder.mkdir()
        paths = write_pair(folder, images, labels)
        seen.add(IdxPart("a", "train", *paths).identity())
        seen.add(IdxPart("b", "exam", *paths).identity())  # names and roles are no content
    assert len(seen) == 3


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(1, 4),
    packed=st.booleans(),
    hit_labels=st.booleans(),
    edits=st.lists(
        st.tuples(st.sampled_from(["flip", "cut", "insert"]), st.floats(0, 1), st.integers(0, 255)),
        min_size=1,
        max_size=3,
    ),
)
def test_broken_bytes_give_data_errors_or_whole_rows(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    packed: bool,
    hit_labels: bool,
    edits: list[tuple[str, float, int]],
) -> None:
    files = [bytearray(gzip.compress(idx(a)) if packed else idx(a)) for a in digits(n)]
    target = files[hit_labels]
    for kind, where, value in edits:
        # Half of the hits go to the first bytes, where the claims are.
        at = int(where * len(target)) if value % 2 else int(where * min(24, len(target)))
        if kind == "flip" and at < len(target):
            target[at] ^= value
        elif kind == "cut":
            del target[at : at + value]
        elif kind == "insert":
            target[at:at] = bytes([value])
    folder = tmp_path_factory.mktemp("broken")
    try:
        blocks = read(folder, bytes(files[0]), bytes(files[1]))
    except DataError:
        return
    assert [b.images.shape for b in blocks] == [(n, 784)]
    assert [len(b.places) for b in blocks] == [n]
    assert [b.labels is not None and len(b.labels) for b in blocks] == [n]


@pytest.mark.integration
def test_the_real_mnist() -> None:
    if "MNIST_DATA_DIR" not in os.environ:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's four IDX files")
    sha256 = {
        "train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "exam": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    }
    parts = Idx(os.environ["MNIST_DATA_DIR"]).parts()
    assert [part.role for part in parts] == ["train", "exam"]
    for part in parts:
        blocks = list(part.read(CONTRACT))
        images = np.concatenate([block.images for block in blocks])
        assert hashlib.sha256(idx(images.reshape(-1, 28, 28))).hexdigest() == sha256[part.role]
        labels = np.concatenate([block.labels for block in blocks])
        assert len(labels) == {"train": 60_000, "exam": 10_000}[part.role]
        assert set(labels.tolist()) == set(range(10))
