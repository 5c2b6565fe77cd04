"""Folders of PNG pictures: one sub-folder a class, as torchvision's ImageFolder reads them.

    DIR/0/… DIR/1/… … DIR/9/…         each picture has the label of its folder
    DIR/train/0/… DIR/test/0/…        the same in two parts; `test` becomes the exam
    DIR/…                             with labelled=false: pictures wherever they lie

Every visible file in a class folder is a row, read or rejected: a JPEG among them is told, not
passed over. Rows come in natural order (2.png before 10.png), class by class.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mnist_pipeline.contract.records import PartInput, Records, Reject, Role, unreadable
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.png import read_png
from mnist_pipeline.errors import DataError, did_you_mean
from mnist_pipeline.plugins import option
from mnist_pipeline.sources.files import BLOCK_ROWS, base_name, path_of

_MOST_BYTES = 1 << 20  # of a file: a picture of the contract's size needs a thousandth of it
_LONGEST_PAYLOAD = 4096
_ROLES: dict[str, Role] = {"train": "train", "training": "train", "test": "exam", "testing": "exam"}

# What operating systems leave in folders without asking; names that begin with a dot go too.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclasses.dataclass(frozen=True)
class Png:
    """A folder of PNG pictures, a sub-folder for each class (`DIR/0` to `DIR/9`), grey, 28 × 28.

    Folders called `train` and `test` with class folders in them become two parts; `test` is the
    exam. With labelled=false folders mean nothing, and every file below DIR is a picture.
    """

    path: str = option(
        dataclasses.MISSING,
        "a folder with a sub-folder a class, here or in a bucket (s3://…)",
        locates=True,
        bucket=True,
    )
    labelled: bool = option(True, "whether the sub-folders name classes")

    def parts(self) -> list[PartInput]:
        folder = path_of(self.path)
        _, folders, _ = _listed(str(folder))
        if folders and all(name.lower() in _ROLES for name in folders):
            parts = [
                PngPart(folder / name, _ROLES[name.lower()], self.labelled) for name in folders
            ]
            return sorted(parts, key=lambda part: (part.role != "train", part.name))
        return [PngPart(folder, "train", self.labelled)]


@dataclasses.dataclass(frozen=True)
class PngPart:
    """One folder of pictures, with or without class folders."""

    folder: Path
    role: Role = "train"
    labelled: bool = True

    @property
    def name(self) -> str:
        return base_name(self.folder.absolute()) or str(self.folder)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folder: its files may be millions."""
        return (self.folder,)

    def identity(self) -> str:
        """A sha256 over the names of all files, relative to the folder, and their bytes."""
        total = hashlib.sha256()
        for _, relative in self._files():
            path = self.folder / relative
            try:
                with path.open("rb", buffering=0) as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            except OSError as error:
                raise unreadable(path, error) from None
            total.update(os.fsencode(relative) + b"\0" + content)
        return total.hexdigest()

    def read(self, contract: ImageContract) -> Iterator[Records]:
        if self.labelled:
            self._check_classes(contract)
        files = self._files()
        row = 0
        while block := list(itertools.islice(files, BLOCK_ROWS)):
            yield self._records(block, row, contract)
            row += len(block)
        if not row:
            raise DataError(
                f"there are no pictures in the folder {self.name}",
                folder=str(self.folder),
                expected=f"files like {contract.classes[0]}/1.png" if self.labelled else "*.png",
                remedy="check the path; names that begin with a dot are passed over",
            )

    def _records(
        self, block: list[tuple[str | None, str]], first: int, contract: ImageContract
    ) -> Records:
        """The rows of some files, of which the first is row `first` of the folder."""
        images = np.zeros((len(block), contract.pixels), np.uint8)
        labels = np.zeros(len(block), np.int64)
        good = np.ones(len(block), np.bool_)
        rejects: list[Reject] = []
        label_of = {name: label for label, name in enumerate(contract.classes)}
        for k, (name, relative) in enumerate(block):
            blob = _content(self.folder / relative)
            picture = read_png(blob, contract)
            if not _is_png(relative):
                picture = "undecodable_image", "the file is not called *.png"
            elif not blob:
                picture = "undecodable_image", "the file is empty"
            elif self.labelled and name is None:
                picture = "label_missing", "the picture lies in no class folder"
            if isinstance(picture, tuple):
                good[k] = False
                reason, detail = picture
                detail = f"{_as_text(relative)}: {detail}"
                payload = blob[:_LONGEST_PAYLOAD]
                rejects.append(Reject(self.name, first + k, reason, detail, payload))
            else:
                images[k] = picture
                labels[k] = label_of[name] if name is not None else 0
        places = np.arange(first, first + len(block), dtype=np.int64)
        if rejects:
            images, labels, places = images[good], labels[good], places[good]
        return Records(images, labels if self.labelled else None, places, self.name, tuple(rejects))

    def _files(self) -> Iterator[tuple[str | None, str]]:
        """(class folder, path relative to the folder) of each row's file, in order."""
        top = str(self.folder)
        if not self.labelled:
            yield from ((None, relative) for relative in _below(top, ""))
            return
        _, folders, files = _listed(top)
        # Beside the class folders a README is no row, but a picture has lost its class.
        yield from ((None, name) for name in files if _is_png(name))
        for folder in folders:
            yield from ((folder, relative) for relative in _below(top, folder))

    def _check_classes(self, contract: ImageContract) -> None:
        """Refuses a folder that names no class: what it holds is unlikely to be meant as rows."""
        fail = functools.partial(
            DataError,
            folder=str(self.folder),
            expected=f"folders named {', '.join(contract.classes)}",
        )
        _, folders, files = _listed(str(self.folder))
        if not folders and any(map(_is_png, files)):
            raise fail(
                f"{self.name} holds pictures, but no class folders",
                remedy="put each picture into the folder of its class, or set labelled=false",
            )
        for folder in folders:
            if folder not in contract.classes:
                remedy = did_you_mean(folder, contract.classes)
                if folder.lower() in _ROLES:
                    remedy = f"give one part alone: png:{self.folder / folder}"
                raise fail(f"the folder {_as_text(folder)!r} names no class", remedy=remedy)


def _is_png(name: str) -> bool:
    return name.lower().endswith(".png")


def _as_text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _content(path: Path) -> bytes:
    """A file's bytes, cut where no picture of the contract's size can go on."""
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(min(os.fstat(file.fileno()).st_size, _MOST_BYTES))
    except OSError as error:
        raise unreadable(path, error) from None


def _below(top: str, folder: str) -> Iterator[str]:
    """Every file in `top/folder` and its sub-folders, relative to `top`; links are followed.

    Raises:
        DataError: a folder cannot be read, or a link leads back to a folder above it.
    """
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while pending:
        relative, above = pending.pop()
        path = os.path.join(top, relative)  # noqa: PTH118 (a Path a file costs more than the file)
        here, folders, files = _listed(path)
        if here in above:
            raise DataError(
                f"{base_name(Path(path))} leads back to a folder that holds it",
                folder=path,
                remedy="remove the link",
            )
        prefix = relative and relative + "/"
        yield from (prefix + name for name in files)
        pending += [(prefix + name, above | {here}) for name in reversed(folders)]


def _listed(folder: str) -> tuple[tuple[int, int], list[str], list[str]]:
    """Which folder it is for the system, and the visible folders and files in it, in natural order.

    Raises:
        DataError: the folder cannot be read, or holds something that cannot be read twice.
    """
    folders, files, name = [], [], ""
    try:
        status = Path(folder).stat()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.lower() in _LITTER:
                    continue
                if entry.is_dir():
                    folders.append(name)
                elif entry.is_file():
                    files.append(name)
                else:
                    Path(folder, name).stat()  # a dangling link has an error of its own
                    raise DataError(
                        f"{_as_text(name)} is a pipe or a device, not a file",
                        file=str(Path(folder, name)),
                        remedy="remove it, or copy what it delivers into a file",
                    )
    except NotADirectoryError:
        raise DataError(
            f"{base_name(Path(folder))} is not a folder",
            file=folder,
            remedy="give the folder that the pictures lie in",
        ) from None
    except OSError as error:
        raise unreadable(Path(folder, name), error) from None
    here = (status.st_dev, status.st_ino)
    return here, sorted(folders, key=_natural), sorted(files, key=_natural)


def _natural(name: str) -> str:
    """A key that sorts numbers in names by value: each is preceded by the count of its digits."""
    number = re.sub("0*([0-9]+)", lambda match: f"{len(match[1]):03}{match[1]}", name)
    return f"{number}\0{name}"
