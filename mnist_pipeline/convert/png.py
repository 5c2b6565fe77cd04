"""Folders of PNG pictures, one sub-folder a class: `folder/<label>/<number>.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.data.png import png_bytes


class PngWriter:
    """A folder of pictures, numbered from 0 as the rows come; without labels all side by side.

    Seven digits, so that programs which sort names as text see them in that order too. A class
    without pictures gets no folder: ImageFolder refuses empty ones.
    """

    def __init__(self, folder: Path, contract: ImageContract, *, labelled: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._shape = (contract.height, contract.width)
        self._classes = contract.classes if labelled else None
        self._written = 0

    def write(self, rows: Rows) -> None:
        folders = [str(self._folder)] * len(rows.images)
        if self._classes is not None:
            assert rows.labels is not None
            for label in np.unique(rows.labels):
                (self._folder / self._classes[label]).mkdir(exist_ok=True)
            folders = [f"{self._folder}/{self._classes[label]}" for label in rows.labels.tolist()]
        images = rows.images.reshape(-1, *self._shape)
        for folder, image in zip(folders, images, strict=True):
            # as text, not as a Path: that would cost as much as drawing up the picture
            with open(f"{folder}/{self._written:07d}.png", "wb") as file:  # noqa: PTH123
                file.write(png_bytes(image))
            self._written += 1

    def close(self) -> None:
        """Every picture is closed already."""
