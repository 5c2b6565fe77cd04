"""A source: pictures in folders that are named for their classes."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from mnist_pipeline.contract.records import PartInput, Records, Reject, Role, identity_of_files
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError
from mnist_pipeline.plugins import option
from mnist_pipeline.refs import digest_of


@dataclasses.dataclass(frozen=True)
class Folders:
    """Pictures of digits, DIR/0/….png to DIR/9/….png, of any size, black ink on white."""

    path: str = option(dataclasses.MISSING, "a folder with a sub-folder a class", locates=True)

    def parts(self) -> list[PartInput]:
        return [Folder(Path(self.path), tuple(sorted(Path(self.path).glob("[0-9]/*.png"))))]


@dataclasses.dataclass(frozen=True)
class Folder:
    folder: Path
    paths: tuple[Path, ...]
    role: Role = "train"

    @property
    def name(self) -> str:
        return self.folder.name

    def identity(self) -> str:
        return digest_of([[path.parent.name for path in self.paths], identity_of_files(self.paths)])

    def read(self, contract: ImageContract) -> Iterator[Records]:
        if not self.paths:
            remedy = "put pictures into folders named 0 to 9"
            raise DataError(f"there are no pictures in {self.folder}", remedy=remedy)
        for row, path in enumerate(self.paths):
            images = np.empty((0, contract.pixels), np.uint8)
            rejects: tuple[Reject, ...] = ()
            try:
                picture = Image.open(path).convert("L").resize((contract.width, contract.height))
                images = 255 - np.asarray(picture, np.uint8).reshape(1, -1)
            except (OSError, ValueError) as error:
                words = f"{path.parent.name}/{path.name}: {type(error).__name__}"
                rejects = (Reject(self.name, row, "undecodable_image", words),)
            labels = np.full(len(images), contract.classes.index(path.parent.name))
            yield Records(images, labels, np.full(len(images), row), self.name, rejects)
