"""What can be written: the formats by name, and where in an output each part of the data goes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Protocol

from mnist_pipeline.contract.records import Role
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.convert.csv import CsvWriter
from mnist_pipeline.convert.idx import IdxWriter
from mnist_pipeline.convert.parquet import LAYOUTS, ParquetWriter
from mnist_pipeline.convert.png import PngWriter
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.errors import ConfigError, did_you_mean

FORMATS = ("idx", "csv", "parquet", "png")

_ENDINGS = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",)}


class Writer(Protocol):
    """Writes accepted rows, block by block; its files are whole after `close`."""

    def write(self, rows: Rows) -> None: ...
    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Form:
    """What is to be written.

    Attributes:
        format: one of `FORMATS`.
        labelled: whether labels are read and written.
        compress: gzip (idx and csv).
        layout: how Parquet holds the images, one of `LAYOUTS`.
    """

    format: str
    labelled: bool = True
    compress: bool = False
    layout: str | None = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(
                f"there is no format called {self.format!r}",
                remedy=did_you_mean(self.format, FORMATS),
            )
        if self.layout is not None and self.format != "parquet":
            raise ConfigError(
                f"{self.format} has no layouts to choose from",
                remedy="leave --layout out, or write --format parquet",
            )
        if self.layout is not None and self.layout not in LAYOUTS:
            raise ConfigError(
                f"there is no layout called {self.layout!r}",
                remedy=did_you_mean(self.layout, LAYOUTS),
            )
        if self.compress and self.format not in ("idx", "csv"):
            raise ConfigError(
                f"{self.format} is compressed as it is", remedy="leave --compress out"
            )

    def is_one_file(self, output: Path) -> bool:
        """Whether an output is one file by its name; else it is a folder with a file a part.

        Raises:
            ConfigError: it is called like a file of another kind.
        """
        endings = _ENDINGS.get(self.format, ())
        if output.name.endswith(endings):
            if self.compress and not output.name.endswith(".gz"):
                raise ConfigError(
                    f"{output.name} would be gzipped, but is not called so",
                    remedy=f"call it {output.name}.gz",
                )
            return True
        if re.fullmatch(r"\.[A-Za-z]+", output.suffix):
            folder = output.name.partition(".")[0] or "digits"
            one_file = f"{folder}{endings[0]} for one file, or " if endings else ""
            raise ConfigError(
                f"{output.name} is called neither like a file of {self.format} nor like a folder",
                output=str(output),
                remedy=f"call it {one_file}{folder} for a folder",
            )
        return False

    def writer(self, output: Path, role: Role, contract: ImageContract, *, split: bool) -> Writer:
        """Opens the files of one part of the data.

        Args:
            output: the file or folder in the making; its parent exists.
            role: which part: `train`, or `exam` for official test rows.
            contract: what an image is.
            split: whether there are test rows, so that parts must be told from each other.
        """
        part = {"train": "train", "exam": "test"}[role]
        labelled = self.labelled
        if self.format == "idx":
            stem = {"train": "train", "exam": "t10k"}[role]
            return IdxWriter(output, stem, contract, labelled=labelled, compress=self.compress)
        if self.format == "png":
            return PngWriter(output / part if split else output, contract, labelled=labelled)
        path = output
        if not self.is_one_file(output):
            output.mkdir(exist_ok=True)
            path = output / f"{part}{_ENDINGS[self.format][self.compress]}"
        if self.format == "csv":
            gzipped = path.name.endswith(".gz")
            return CsvWriter(path, contract, labelled=labelled, compress=gzipped)
        return ParquetWriter(path, contract, labelled=labelled, layout=self.layout or "bytes")
