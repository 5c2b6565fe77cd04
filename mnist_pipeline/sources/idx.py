"""IDX files, MNIST's own format, plain or gzipped.

An IDX file is a big-endian header and raw values (http://yann.lecun.com/exdb/mnist/):

    bytes 0, 1   zero
    byte 2       the type of the values: 0x08 = unsigned byte
    byte 3       the number of dimensions
    then         one uint32 a dimension

Nothing in a header is believed before the file has proved it: sizes are computed in Python's own
integers, compared with the file, and memory is taken block by block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.records import (
    NothingThereError,
    PartInput,
    Records,
    Role,
    identity_of_files,
    unreadable,
)
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.files import BLOCK_ROWS, PlainOrGzip, base_name, path_of

# The most that deflate can expand (zlib's technical details, https://zlib.net/zlib_tech.html).
_DEFLATE_RATIO = 1032

_DIMS = {"images": 3, "labels": 1}
_TYPES = {8: "uint8", 9: "int8", 0xB: "int16", 0xC: "int32", 0xD: "float32", 0xE: "float64"}

# MNIST's names as they are found in the wild: train-images-idx3-ubyte, t10k-labels.idx1-ubyte.gz,
# emnist-digits-test-images-idx3-ubyte. What stands before and after the kind names the pair.
_NAME = re.compile(
    r"(?P<before>.*)(?P<kind>images|labels)(?P<after>.*[-._]idx)(?P<dims>[13])"
    r"(?P<end>([-._]ubyte)?)(\.gz)?",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class IdxPart:
    """A file of images and the file of their labels; `labels` is None for unlabelled images."""

    name: str
    role: Role
    images: Path
    labels: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.images,) if self.labels is None else (self.images, self.labels)

    def identity(self) -> str:
        return identity_of_files(self.paths)

    def read(self, contract: ImageContract) -> Iterator[Records]:
        return read_idx(self.images, self.labels, contract)


@dataclasses.dataclass(frozen=True)
class Idx:
    """IDX files as MNIST names them: every pair of a folder, or one file of images and its labels.

    Pairs called `t10k…` or `test…` are the official test part: they become the exam.
    """

    path: str = option(
        dataclasses.MISSING,
        "a folder of IDX files, or one file of images, here or in a bucket (s3://…)",
        locates=True,
        bucket=True,
    )
    labelled: bool = option(
        True, "whether the images have labels; if not, labels files are ignored"
    )

    def parts(self) -> list[PartInput]:
        path = path_of(self.path)
        try:
            path.stat()
            folder = path if path.is_dir() else path.parent
            names = sorted(entry for entry in folder.iterdir() if not entry.is_dir())
        except OSError as error:
            raise unreadable(path, error) from None
        pairs: list[tuple[Path, Path | None]]
        if not self.labelled:
            images = _by_pair(names, "images") if path == folder else {"": path}
            pairs = [(image, None) for image in images.values()]
        elif path == folder:
            pairs = _pairs(folder, _by_pair(names, "images"), _by_pair(names, "labels"))
        elif (key := _pair_of(path.name, "images")) is not None:
            labels = _by_pair(names, "labels")
            pairs = _pairs(folder, {key: path}, {key: labels[key]} if key in labels else {})
        else:
            raise DataError(
                f"{path.name} is not called like a file of images, so its labels cannot be found",
                file=str(path),
                expected="a name like train-images-idx3-ubyte or train-images.idx3-ubyte.gz",
                remedy="name the file of images as MNIST does, and the labels beside it",
            )
        if not pairs:
            raise NothingThereError(
                f"there are no IDX files in the folder {path.name or path}",
                folder=str(path),
                expected="names like train-images-idx3-ubyte, plain or .gz",
                remedy="give the folder that holds them",
            )
        parts = [
            IdxPart(base_name(image), _role(image.name), image, label) for image, label in pairs
        ]
        return sorted(parts, key=lambda part: (part.role != "train", part.name))


def _pair_of(name: str, kind: str) -> str | None:
    """What the two files of a pair have in common in their names; None for another kind."""
    match = _NAME.fullmatch(name)
    if not match or match["kind"].lower() != kind or match["dims"] != str(_DIMS[kind]):
        return None
    return re.sub(r"[-._]", "-", f"{match['before']}*{match['after']}{match['end']}").lower()


def _by_pair(paths: list[Path], kind: str) -> dict[str, Path]:
    """The files of one kind by pair; the plain file where it also lies there gzipped."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        if (key := _pair_of(path.name, kind)) is not None:
            found.setdefault(key, []).append(path)
    for key, rivals in found.items():
        plain = [path for path in rivals if path.suffix.lower() != ".gz"] or rivals
        if len(plain) > 1:
            raise DataError(
                f"{plain[0].name} and {plain[1].name} are the same part twice",
                folder=str(plain[0].parent),
                remedy="move one of them away",
            )
        found[key] = plain
    return {key: rivals[0] for key, rivals in found.items()}


def _pairs(
    folder: Path, images: dict[str, Path], labels: dict[str, Path]
) -> list[tuple[Path, Path | None]]:
    for key in sorted(images.keys() ^ labels.keys()):
        kind, lone = ("images", images[key]) if key in images else ("labels", labels[key])
        other = "labels" if kind == "images" else "images"
        match = cast(re.Match[str], _NAME.fullmatch(lone.name))
        partner = f"{match['before']}{other}{match['after']}{_DIMS[other]}{match['end']}"
        raise DataError(
            f"{lone.name} has no file of {other} beside it",
            folder=str(folder),
            expected=f"{partner} or {partner}.gz",
            found="a directory of that name" if (folder / partner).is_dir() else "nothing",
            remedy=f"put the {other} of the same rows into the same folder",
        )
    return [(images[key], labels[key]) for key in images]


def _role(name: str) -> Role:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return "exam" if any(word.startswith(("t10k", "test")) for word in words) else "train"


class _IdxFile:
    """An open IDX file whose header has been read and compared with what is known of the file."""

    def __init__(self, file: PlainOrGzip, kind: str) -> None:
        self.file = file
        self.kind = kind
        self.dims = self._read_dims()
        self.claimed = 4 + 4 * len(self.dims) + math.prod(self.dims)
        if not file.gzipped and file.size != self.claimed:
            raise self._wrong_size(f"{file.size:,} bytes", longer=file.size > self.claimed)
        if file.gzipped and self.claimed > _DEFLATE_RATIO * file.size:
            raise self._wrong_size(f"{file.size:,} bytes of gzip, too few for that")

    def rows(self, count: int) -> NDArray[np.uint8]:
        """The next `count` rows: (count, values a row) uint8."""
        values = math.prod(self.dims[1:])
        data = self.file.read(count * values)
        if len(data) != count * values:
            raise self._wrong_size("an early end")
        return np.frombuffer(data, dtype=np.uint8).reshape(count, values)

    def finish(self) -> None:
        """Make sure that nothing follows the last row and, for gzip, that the checksum holds."""
        if self.file.read(1):
            raise self._wrong_size(f"more than {self.claimed:,} bytes", longer=True)

    def error(self, what: str, remedy: str, **facts: Any) -> DataError:
        path = self.file.path
        return DataError(f"{path.name} {what}", file=str(path), **facts, remedy=remedy)

    def _read_dims(self) -> tuple[int, ...]:
        count = _DIMS[self.kind]
        head = self.file.read(4)
        if not head:
            raise self.error("is empty", "fetch the file again")
        if head != bytes([0, 0, 0x08, count]):
            found = f"bytes {head.hex(' ')}"
            if len(head) == 4 and head[:2] == b"\0\0" and head[2] in _TYPES:
                found += f" ({_TYPES[head[2]]}, dimensions: {head[3]})"
            swapped = head == bytes([0, 0, 0x08, 4 - count])
            raise self.error(
                f"is not an IDX file of {self.kind}",
                "the files of images and labels may be swapped"
                if swapped
                else "give an IDX file of unsigned bytes, plain or gzipped",
                expected=f"bytes 00 00 08 0{count} (uint8, dimensions: {count})",
                found=found,
            )
        sizes = self.file.read(4 * count)
        if len(sizes) < 4 * count:
            raise self.error("ends inside its header", "fetch the file again")
        return tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, 4 * count, 4))

    def _wrong_size(self, found: str, *, longer: bool = False) -> DataError:
        dims = " × ".join(f"{size:,}" for size in self.dims)
        return self.error(
            f"is {'longer' if longer else 'shorter'} than its header claims",
            "fetch the file again",
            expected=f"{self.claimed:,} bytes ({dims} values)",
            found=found,
        )


def read_idx(
    images_path: Path, labels_path: Path | None, contract: ImageContract
) -> Iterator[Records]:
    """The rows of a pair of IDX files, block by block; `labels_path` None for unlabelled images.

    Both headers are checked before the first row goes out; what only shows while unpacking (an
    early end, trailing bytes, a bad checksum) is raised where it is met, before the last rows.

    Raises:
        DataError: a file cannot be read, is not what its header claims, does not hold the
            contract's images, or the two do not belong together.
    """
    with contextlib.ExitStack() as stack:
        images = _IdxFile(stack.enter_context(PlainOrGzip(images_path)), "images")
        count, height, width = images.dims
        if (height, width) != (contract.height, contract.width):
            raise images.error(
                "holds images of another size",
                "give images of the contract's size",
                expected=f"{contract.height} × {contract.width} pixels",
                found=f"{height} × {width} pixels",
            )
        if count == 0:
            raise images.error("holds no images", "give a file with images in it")
        files = [images]
        if labels_path is not None:
            files.append(_IdxFile(stack.enter_context(PlainOrGzip(labels_path)), "labels"))
            if files[1].dims[0] != count:
                raise files[1].error(
                    f"does not belong to {images_path.name}: their counts differ",
                    "give the labels of the same images",
                    expected=f"{count:,} labels",
                    found=f"{files[1].dims[0]:,} labels",
                )
        for start in range(0, count, BLOCK_ROWS):
            places = np.arange(start, min(start + BLOCK_ROWS, count), dtype=np.int64)
            pixels, *answers = [file.rows(len(places)) for file in files]
            labels = answers[0][:, 0].astype(np.int64) if answers else None
            if start + BLOCK_ROWS >= count:
                for file in files:
                    file.finish()
            yield Records(pixels, labels, places, base_name(images_path))
