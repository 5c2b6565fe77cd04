"""A contact sheet of any source: its first images of each class, as one PNG."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.convert.rows import judged
from mnist_pipeline.convert.target import Target
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.data.png import png_bytes
from mnist_pipeline.data.sheet import contact_sheet
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.reporting import Reporter, Step, listening
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.store.objects import Store


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A contact sheet that was written.

    Attributes:
        output: the picture.
        shown: how many images, by class; without labels under "".
        width, height: of the picture, pixels.
    """

    output: str
    shown: Mapping[str, int]
    width: int
    height: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def write_sheet(
    spec: str,
    output: Path,
    *,
    columns: int,
    labelled: bool,
    overwrite: bool,
    store: Store | None,
    reporter: Reporter,
) -> Sheet:
    """Writes a contact sheet of the accepted rows of a source; reads no further than it must.

    Official test rows are only looked at where there is nothing else.

    Raises:
        ConfigError: the source or the output is named wrongly.
        DataError: the source cannot be read, or holds no image that is accepted.
        OutsideError: the output cannot be written.
    """
    started = time.perf_counter()
    contract = ImageContract()
    output = Path(os.path.realpath(output))
    if output.suffix.lower() != ".png":
        raise ConfigError(
            f"{output.name} is not called like a picture",
            output=str(output),
            remedy=f"call it {output.name}.png",
        )
    target = Target(output, folder=False, overwrite=overwrite)
    target.check()
    reporter.begin("sheet", spec)
    with listening(reporter):
        overrides = None if labelled else {"labelled": False}
        parts = [source.part for source in inputs_of([spec], store, overrides)]
        parts = [part for part in parts if part.role == "train"] or parts
        blocks = (rows for part in parts for rows in judged(part, contract, labelled=labelled))
        images, labels = _first(blocks, len(contract.classes), columns, labelled, reporter)
    if not len(images):
        raise DataError(
            f"not one row of {spec} was accepted",
            remedy="`mnist-pipeline validate` names the rows and what is wrong with them",
        )
    pictures = images.reshape(-1, contract.height, contract.width)
    sheet = contact_sheet(pictures, labels, contract.classes, columns=columns)
    with target.staged() as staging:
        staging.path.write_bytes(png_bytes(sheet))
        staging.publish()
    words = f"{len(images):,} images"
    reporter.end("sheet", words, time.perf_counter() - started, reused=False)
    shown = {"": len(images)}
    if labels is not None:
        counts = np.bincount(labels, minlength=len(contract.classes)).tolist()
        shown = dict(zip(contract.classes, counts, strict=True))
    return Sheet(str(output), shown, width=sheet.shape[1], height=sheet.shape[0])


def _first(
    blocks: Iterable[Rows], classes: int, columns: int, labelled: bool, reporter: Reporter
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The first `columns` images of each class and their labels; of unlabelled rows just as many.

    Unlabelled rows count as one class with the room of all.
    """
    room = np.full(classes, columns) if labelled else np.array([columns * classes])
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    read = 0
    for rows in blocks:
        found = np.zeros(len(rows.images), np.uint8) if rows.labels is None else rows.labels
        for label in np.flatnonzero(room):
            chosen = np.flatnonzero(found == label)[: room[label]]
            room[label] -= len(chosen)
            images.append(rows.images[chosen])
            labels.append(found[chosen])
        read += len(found)
        reporter.step(Step(read, 0, "rows", rows.source))
        if not room.any():
            break
    if not images:
        return np.zeros((0, 0), np.uint8), None
    return np.concatenate(images), np.concatenate(labels) if labelled else None
