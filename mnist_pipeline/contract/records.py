"""Rows on their way to the contract: what a source yields, and what it had to turn away."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import DataError, storable
from mnist_pipeline.refs import digest_of, sha256_of_file

Role = Literal["train", "exam"]

NO_LABEL = -1
"""The value of `Records.labels` for a row that should have a label and has none."""

REASONS: dict[str, str] = {
    "label_missing": "the row has no label",
    "label_out_of_range": "the label is not one of the contract's classes",
    "image_missing": "the row has no image",
    "image_wrong_size": "the image does not have the contract's number of pixels",
    "pixel_not_a_number": "a pixel is not an integer in plain digits",
    "pixel_out_of_range": "a pixel is below 0 or above 255",
    "wrong_column_count": "the row has more or fewer columns than its header",
    "undecodable_image": "the image bytes are not a picture that can be decoded",
    "undecodable_text": "the row is not valid text",
    "conflicting_duplicate": "the same image occurs with different labels; all are rejected",
    "exam_overlap": "the image is an exam question of this model name",
}
"""The closed list of reasons for which a row is rejected, with what each means."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """A row that was turned away.

    Attributes:
        source: the base name of the file.
        place: the line (from 1, header included) in text files, else the row (from 0).
        reason: one of `REASONS`.
        detail: what exactly, for a person: the column and the value.
        payload: the row's raw bytes as they arrived (bounded by the source).
    """

    source: str
    place: int
    reason: str
    detail: str
    payload: bytes = b""


@dataclasses.dataclass(frozen=True)
class Records:
    """A block of parsed rows of one source file.

    Attributes:
        images: (N, pixels) uint8, row-major, C-contiguous.
        labels: (N,) int64, `NO_LABEL` where the row has none; None for unlabelled data.
            Not yet judged: a label may lie outside the contract.
        places: (N,) int64, see `Reject.place`.
        source: the base name of the file.
        rejects: rows of the same stretch of the file that could not be parsed at all.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    places: NDArray[np.int64]
    source: str
    rejects: tuple[Reject, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


class PartInput(Protocol):
    """One ingestible piece of a source: becomes one Parquet part.

    Attributes:
        name: what a person calls it, without folders: the base name of its first file.
        role: `exam` for the official test part of a data set, else `train`.
        paths: the files here whose bytes it is made of; empty for generated data, and for what
            lies in a bucket.
    """

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def paths(self) -> tuple[Path, ...]: ...

    def identity(self) -> str:
        """A sha256 over all source bytes (or, for generated data, over what determines them)."""
        ...

    def read(self, contract: ImageContract) -> Iterator[Records]:
        """The rows, block by block, in bounded memory.

        Raises:
            DataError: the input as a whole cannot be read.
        """
        ...


class Source(Protocol):
    """The source seam: a frozen dataclass of options that names what there is to ingest."""

    def parts(self) -> list[PartInput]:
        """What this source consists of, in a fixed order.

        Raises:
            DataError: a named input does not exist or cannot be opened.
            OutsideError: it has to come over a network, and that failed.
        """
        ...


def flaw_of_part(part: object) -> str | None:
    """Why something is no part of a source, in words; None if it is one."""
    missing = [n for n in ("name", "role", "paths", "identity", "read") if not hasattr(part, n)]
    if missing:
        return f"a {type(part).__name__} has no {missing[0]}"
    part = cast(PartInput, part)
    if not _is_base_name(part.name):
        return f"{part.name!r} is no name without folders"
    if part.role not in get_args(Role):
        return f"the role {part.role!r} is none of {', '.join(get_args(Role))}"
    if not (isinstance(part.paths, tuple) and all(isinstance(path, Path) for path in part.paths)):
        return "paths is not a tuple of Path"
    return None


def flaw_of_records(records: object, contract: ImageContract) -> str | None:
    """Why something is no block of rows as `Records` describes it, in words; None if it is one."""
    if not isinstance(records, Records):
        return f"a {type(records).__name__} is no Records"
    n = len(records.images) if isinstance(records.images, np.ndarray) else 0
    expected = {
        "images": (records.images, np.uint8, (n, contract.pixels)),
        "labels": (records.labels, np.int64, (n,)),
        "places": (records.places, np.int64, (n,)),
    }
    for name, (array, dtype, shape) in expected.items():
        if name == "labels" and array is None:
            continue
        if not isinstance(array, np.ndarray):
            return f"{name} is a {type(array).__name__}, not an array"
        if array.dtype != dtype or array.shape != shape:
            wanted = f"{np.dtype(dtype)} {shape}"
            return f"{name} is {array.dtype} {array.shape} where {wanted} is expected"
    if not records.images.flags.c_contiguous:
        return "images is not C-contiguous"
    if not _is_base_name(records.source):
        return f"source is {records.source!r}, not a base name"
    if (records.places < 0).any():
        return f"a place is {records.places.min()}, before the first one"
    if not isinstance(records.rejects, tuple | list):
        return f"rejects is a {type(records.rejects).__name__}, not a tuple"
    return next((flaw for reject in records.rejects if (flaw := _flaw_of_reject(reject))), None)


def _flaw_of_reject(reject: object) -> str | None:
    if not isinstance(reject, Reject):
        return f"a {type(reject).__name__} is no Reject"
    if not _is_base_name(reject.source):
        return f"the source of a Reject is {reject.source!r}, not a base name"
    if not (isinstance(reject.place, int | np.integer) and 0 <= reject.place < 2**63):
        return f"the place of a Reject is {reject.place!r}, no int64 from 0"
    if not (isinstance(reject.reason, str) and reject.reason in REASONS):
        return f"the reason {reject.reason!r} is not in the closed list"
    if not _is_text(reject.detail):
        return f"the detail of a Reject is {reject.detail!r}, not a text"
    if not isinstance(reject.payload, bytes):
        return f"the payload of a Reject is a {type(reject.payload).__name__}, not bytes"
    return None


def _is_base_name(name: object) -> bool:
    return _is_text(name) and name != "" and "/" not in str(name)


def _is_text(text: object) -> bool:
    """Whether it is a text that a file can hold: UTF-8 has no half surrogate pairs."""
    return isinstance(text, str) and storable(text) == text


class NothingThereError(DataError):
    """A path or a pattern leads to no file; in a landing that is no error, but a quiet day."""


def identity_of_files(paths: tuple[Path, ...]) -> str:
    """The digest of several files' bytes, for `PartInput.identity`.

    Raises:
        DataError: a file is missing, is a folder, or may not be read.
    """
    try:
        return digest_of([sha256_of_file(path) for path in paths])
    except OSError as error:
        raise unreadable(Path(error.filename or paths[0]), error) from None


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the operating system will not let us read."""
    kind: type[DataError] = DataError
    if isinstance(error, FileNotFoundError):
        kind, headline, remedy = NothingThereError, f"{path.name} does not exist", "check the path"
    elif isinstance(error, IsADirectoryError):
        headline, remedy = f"{path.name} is a directory, not a file", "name the file inside it"
    elif isinstance(error, PermissionError):
        headline, remedy = f"{path.name} may not be read", "give this user read permission on it"
    else:
        headline, remedy = f"{path.name} cannot be read", "check the disk it lies on"
    return kind(headline, file=str(path), cause=error.strerror or str(error), remedy=remedy)
