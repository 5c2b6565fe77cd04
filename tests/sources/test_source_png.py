"""Folders of PNG pictures: every visible file is a row, labelled by its folder, or is told."""

from __future__ import annotations

import inspect
import io
import os
import shutil
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnist_pipeline.contract.records import REASONS, Records
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.png import png_bytes
from mnist_pipeline.errors import DataError
from mnist_pipeline.plugins import build
from mnist_pipeline.sources.png import Png, PngPart

CONTRACT = ImageContract()
Images = np.ndarray


def pictures(n: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (n, 28, 28), np.uint8)


def encoded(image: Images, mode: str = "L", kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, kind, **options)
    return file.getvalue()


def put(folder: Path, name: str, image: Images | bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image if isinstance(image, bytes) else png_bytes(image))


def read(folder: Path, *, labelled: bool = True) -> Records:
    """All records of a folder, as one."""
    (part,) = Png(str(folder), labelled=labelled).parts()
    blocks = list(part.read(CONTRACT))
    assert {block.source for block in blocks} == {folder.name}
    labels = [block.labels for block in blocks if block.labels is not None]
    records = Records(
        np.concatenate([block.images for block in blocks]),
        np.concatenate(labels) if labelled else None,
        np.concatenate([block.places for block in blocks]),
        folder.name,
        tuple(reject for block in blocks for reject in block.rejects),
    )
    assert {reject.reason for reject in records.rejects} <= set(REASONS)
    places = [*records.places.tolist(), *(reject.place for reject in records.rejects)]
    assert sorted(places) == list(range(len(places)))  # every file is a row, once
    return records


def test_a_folder_a_class_in_natural_order(tmp_path: Path) -> None:
    images = pictures(6)
    names = ["0/2.png", "0/10.png", "3/a1.png", "3/a02.png", "3/a10b2.PNG", "9/more/x.png"]
    for name, image in reversed(list(zip(names, images, strict=True))):
        put(tmp_path, name, image)
    records = read(tmp_path)
    assert records.labels is not None
    assert records.labels.tolist() == [0, 0, 3, 3, 3, 9]
    np.testing.assert_array_equal(records.images, images.reshape(6, 784))
    assert records.images.flags.c_contiguous
    assert not records.rejects


@pytest.mark.parametrize("nested", [False, True])
def test_unlabelled_pictures_lie_anywhere(nested: bool, tmp_path: Path) -> None:
    images = pictures(4)
    names = ["1.png", "2.png", "b/1.png", "b/c/7.png"] if nested else [f"{k}.png" for k in range(4)]
    for name, image in zip(names, images, strict=True):
        put(tmp_path, name, image)
    records = read(tmp_path, labelled=False)
    assert records.labels is None
    np.testing.assert_array_equal(records.images, images.reshape(4, 784))


def test_class_folders_without_their_meaning(tmp_path: Path) -> None:
    for name, image in zip(["0/1.png", "banana/2.png"], pictures(2), strict=True):
        put(tmp_path, name, image)
    assert len(read(tmp_path, labelled=False)) == 2


GREY = pictures(1)[0]
COLOUR = np.random.default_rng(1).integers(0, 256, (28, 28, 3), np.uint8)


def animation() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(image) for image in pictures(3)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason", "detail"),
    [
        ("x.png", b"", "undecodable_image", "the file is empty"),
        ("x.png", encoded(GREY, kind="JPEG"), "undecodable_image", "the bytes are no PNG"),
        ("x.png", encoded(GREY)[:100], "undecodable_image", ""),
        ("x.png", encoded(GREY, "I;16"), "undecodable_image", "16 bits"),
        ("x.png", encoded(COLOUR, "RGB"), "undecodable_image", "colour"),
        ("x.png", encoded(COLOUR, "P"), "undecodable_image", "colour"),
        ("x.png", encoded(GREY, transparency=int(GREY[3, 3])), "undecodable_image", "transpar"),
        ("x.png", animation(), "undecodable_image", "an animation"),
        ("x.png", encoded(pictures(1)[0][:27]), "image_wrong_size", "27 × 28 pixels"),
        ("x.png", encoded(np.zeros((3000, 3000), np.uint8)), "image_wrong_size", "3000 × 3000"),
        ("x.jpg", encoded(GREY, kind="JPEG"), "undecodable_image", "not called *.png"),
        ("notes.txt", b"remember the milk", "undecodable_image", "not called *.png"),
    ],
)
def test_what_is_no_grey_picture_is_rejected_by_name(
    name: str, content: bytes, reason: str, detail: str, tmp_path: Path
) -> None:
    put(tmp_path, "4/1.png", GREY)
    put(tmp_path, f"4/{name}", content)
    put(tmp_path, "5/1.png", GREY)
    records = read(tmp_path)
    (reject,) = records.rejects
    assert (reject.source, reject.reason) == (tmp_path.name, reason)
    assert reject.detail.startswith(f"4/{name}: ")
    assert detail in reject.detail
    assert reject.payload == content[:4096]
    assert records.labels is not None
    assert records.labels.tolist() == [4, 5]


@pytest.mark.parametrize("mode", ["1", "LA", "RGB", "RGBA", "P"])
def test_other_modes_that_show_grey_alone_are_read(mode: str, tmp_path: Path) -> None:
    image = np.where(GREY > 127, 255, 0).astype(np.uint8)
    put(tmp_path, "7/1.png", encoded(image, mode))
    np.testing.assert_array_equal(read(tmp_path).images[0], image.ravel())


def test_a_file_far_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    put(tmp_path, "0/1.png", GREY)
    with (tmp_path / "0/2.png").open("wb") as file:
        file.truncate(1 << 33)  # sparse
    tracemalloc.start()
    records = read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
    assert [reject.reason for reject in records.rejects] == ["undecodable_image"]


def test_a_picture_beside_the_class_folders_has_no_label(tmp_path: Path) -> None:
    put(tmp_path, "1/1.png", GREY)
    put(tmp_path, "stray.png", GREY)
    put(tmp_path, "README.md", b"what this is")  # no picture, in no class: no row
    (reject,) = read(tmp_path).rejects
    assert (reject.reason, reject.place) == ("label_missing", 0)
    assert reject.detail.startswith("stray.png")


def test_hidden_files_and_litter_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "1/1.png", GREY)
    for name in (".git/x.png", "1/.x.png", "1/Thumbs.db", "desktop.ini", "__MACOSX/1/1.png"):
        put(tmp_path, name, b"junk")
    assert len(read(tmp_path)) == 1


def test_official_test_pictures_are_the_exam(tmp_path: Path) -> None:
    for k, name in enumerate(["training/0/1.png", "testing/0/1.png"]):
        put(tmp_path, name, pictures(2)[k])
    parts = Png(str(tmp_path)).parts()
    assert [(part.name, part.role) for part in parts] == [
        ("training", "train"),
        ("testing", "exam"),
    ]
    for part, image in zip(parts, pictures(2), strict=True):
        (records,) = part.read(CONTRACT)
        np.testing.assert_array_equal(records.images[0], image.ravel())


def refused(folder: Path, *, labelled: bool = True) -> DataError:
    def read_all() -> None:
        for part in Png(str(folder), labelled=labelled).parts():
            part.identity()
            list(part.read(CONTRACT))

    with pytest.raises(DataError) as caught:
        read_all()
    assert caught.value.remedy
    assert str(folder) in str(caught.value.facts)
    return caught.value


@pytest.mark.parametrize(
    ("name", "says"),
    [("banana", "'banana' names no class"), ("00", "'00' names no class"), ("10", "'10' names no")],
)
def test_a_folder_that_names_no_class(name: str, says: str, tmp_path: Path) -> None:
    put(tmp_path, "1/1.png", GREY)
    put(tmp_path, f"{name}/1.png", GREY)
    error = refused(tmp_path)
    assert says in error.headline
    assert "0, 1, 2" in error.facts["expected"]


def test_parts_that_are_neither_train_nor_test(tmp_path: Path) -> None:
    for name in ("train", "val"):
        put(tmp_path, f"{name}/1/1.png", GREY)
    error = refused(tmp_path)
    assert "'train' names no class" in error.headline
    assert f"png:{tmp_path}/train" in error.remedy


def a_pipe(folder: Path) -> None:
    (folder / "1").mkdir()
    os.mkfifo(folder / "1" / "1.png")


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(png_bytes(GREY))


def linked(target: str) -> Callable[[Path], None]:
    def link(folder: Path) -> None:
        (folder / "1").mkdir()
        (folder / "1" / "a.png").symlink_to(target)

    return link


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "not there": (lambda folder: folder.rmdir(), "does not exist"),
    "a file": (a_file, "is not a folder"),
    "empty": (lambda folder: None, "no pictures"),
    "empty classes": (lambda folder: (folder / "1").mkdir(), "no pictures"),
    "hidden alone": (lambda folder: put(folder, "1/.1.png", GREY), "no pictures"),
    "no classes": (lambda folder: put(folder, "1.png", GREY), "no class folders"),
    "a pipe": (a_pipe, "is a pipe"),
    "a link to nothing": (linked("nothing.png"), "does not exist"),
    "a link to itself": (linked("a.png"), "cannot be read"),
    "a link upwards": (linked("../../data"), "leads back"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.timeout(10)
def test_folders_that_cannot_be_read(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    spoil, says = WRONG[what]
    spoil(folder)
    assert says in refused(folder).headline


def test_two_links_that_lead_to_each_other(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", GREY)
    put(tmp_path, "b/2.png", GREY)
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "b" / "a").symlink_to("../a")
    assert "leads back" in refused(tmp_path, labelled=False).headline


def test_links_to_pictures_and_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", GREY)
    (tmp_path / "data" / "2").mkdir(parents=True)
    (tmp_path / "data" / "1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "2" / "x.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    records = read(tmp_path / "data")
    assert records.labels is not None
    assert records.labels.tolist() == [1, 2]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    put(tmp_path, "1/1.png", GREY)
    Path(os.fsdecode(os.fsencode(tmp_path / "1") + b"/\xff.png")).write_bytes(b"")
    (part,) = Png(str(tmp_path)).parts()
    part.identity()
    (reject,) = read(tmp_path).rejects
    assert reject.detail == "1/�.png: the file is empty"


def test_a_deep_tree_is_no_recursion(tmp_path: Path) -> None:
    put(tmp_path, "d/" * 300 + "1.png", GREY)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        assert len(read(tmp_path, labelled=False)) == 1
    finally:
        sys.setrecursionlimit(limit)


def test_identity_is_of_names_and_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        put(tmp_path / folder, "1/1.png", GREY)
        put(tmp_path / folder, "2/1.png", pictures(2)[1])

    def identity() -> list[str]:
        return [Png(str(tmp_path / folder)).parts()[0].identity() for folder in ("a", "b")]

    one, other = identity()
    assert one == other
    (tmp_path / "b/2/1.png").rename(tmp_path / "b/1/2.png")  # another label
    assert identity()[1] != one
    (tmp_path / "b/1/2.png").rename(tmp_path / "b/2/1.png")
    put(tmp_path, "b/2/.hidden.png", b"")
    assert identity()[1] == one
    put(tmp_path, "b/1/1.png", encoded(GREY))  # the same picture in other bytes
    assert identity()[1] != one


def test_blocks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_pipeline.sources.png.BLOCK_ROWS", 8)
    images = pictures(50)
    for k, image in enumerate(images):
        put(tmp_path, f"{k % 10}/{k}.png", image if k % 7 else b"junk")
    (part,) = Png(str(tmp_path)).parts()
    blocks = list(part.read(CONTRACT))
    assert [len(block) + len(block.rejects) for block in blocks] == [8, 8, 8, 8, 8, 8, 2]
    records = read(tmp_path)
    order = [k for digit in range(10) for k in range(digit, 50, 10)]
    expected = [k for k in order if k % 7]
    np.testing.assert_array_equal(records.images, images[expected].reshape(-1, 784))
    assert records.labels is not None
    assert records.labels.tolist() == [k % 10 for k in expected]


def test_options_come_as_text(tmp_path: Path) -> None:
    put(tmp_path, "1.png", GREY)
    (part,) = build("source", "png", {"path": str(tmp_path), "labelled": "false"}).parts()
    assert part == PngPart(tmp_path, "train", labelled=False)
    assert part.paths == (tmp_path,)


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that anybody may enter, and nobody's rights, even if this process is root's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    put(folder, "1/1.png", GREY)
    root = os.geteuid() == 0
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        (folder / "1").chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_nobody_may_read(nobody: Path) -> None:
    read(nobody)  # imports what it needs with full rights
    (nobody / "1/1.png").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert "1.png may not be read" in refused(nobody).headline


def test_a_folder_nobody_may_enter(nobody: Path) -> None:
    (nobody / "1").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert "1 may not be read" in refused(nobody).headline
    assert "deeper may not be read" in refused(nobody / "1" / "deeper").headline
