"""Where output goes: nothing is visible there before all of it is.

Everything is written into a hidden folder beside the output, made durable, and renamed. A run that
failed or was interrupted takes that folder away; what a killed run left, the next one does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.store.credentials import without_query
from mnist_pipeline.store.objects import SECONDS_UNTIL_ABANDONED
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.places import is_url

_HIDDEN = ".mnist-pipeline-"
_FEW_FILES = 16

# What conversions write into folders.
_OWN = re.compile(
    r"(train|t10k)-(images-idx3|labels-idx1)-ubyte(\.gz)?"
    r"|(train|test)(\.csv|\.csv\.gz|\.parquet)"
    r"|((train|test)/)?([^/]+/)?[0-9]{7,}\.png"
)


def output_path(output: str) -> Path:
    """The path that a user means with --output.

    Raises:
        ConfigError: it is a URL of a bucket.
        DataError: it cannot be a path.
    """
    if is_url(output):
        raise ConfigError(
            "this output is a file or a folder on disk",
            output=without_query(output),
            remedy="name a path with --output, and copy from there to the bucket",
        )
    return path_of(output.removeprefix("file://"))


class Target:
    """An output, a file or a folder, and the list of rejected rows beside it.

    Attributes:
        path: the output, links followed.
        rejected: `<output>.rejected.parquet`.
        folder: whether it is a folder.

    Args:
        own: the names of files that --overwrite may take away with a folder.
    """

    def __init__(
        self,
        output: str | Path,
        *,
        folder: bool,
        overwrite: bool,
        own: re.Pattern[str] = _OWN,
    ) -> None:
        self.path = Path(os.path.realpath(output))
        self.rejected = self.path.parent / f"{self.path.name}.rejected.parquet"
        self.folder = folder
        self._overwrite, self._own = overwrite, own

    def check(self) -> None:
        """Refuses to replace what may not be replaced.

        Raises:
            ConfigError: something is there and --overwrite was not given, or it is something else
                than a conversion writes.
            OutsideError: nobody may look.
        """
        with self._explained():
            if Path.cwd().is_relative_to(self.path):
                raise ConfigError(
                    "the output would replace the folder that this command runs in",
                    output=str(self.path),
                    remedy="name a folder inside it with --output",
                )
            wanted, fits = "file", Path.is_file
            if self.folder:
                wanted, fits = "folder", Path.is_dir
            if self.path.exists() and not fits(self.path):
                raise ConfigError(
                    f"{self.path.name} exists and is no {wanted}",
                    output=str(self.path),
                    remedy="choose another --output",
                )
            for there in (self.path, self.rejected):
                empty = there.is_dir() and not any(there.iterdir())
                if there.exists() and not empty and not self._overwrite:
                    raise ConfigError(
                        f"{there.name} exists already",
                        output=str(there),
                        remedy="choose another --output, or replace it with --overwrite",
                    )
            _check_own(self.path, self._own)

    @contextlib.contextmanager
    def staged(self) -> Iterator[Staging]:
        """A hidden place for the files in the making; it is gone afterwards, whatever happens.

        Raises:
            OutsideError: the place cannot be written, or the disk is full.
        """
        parent = self.path.parent
        made = [folder for folder in self.path.parents if not folder.exists()]
        with self._explained():
            try:
                parent.mkdir(parents=True, exist_ok=True)
                _sweep(parent)
                scratch = parent / f"{_HIDDEN}{Owner.this()}.{secrets.token_hex(4)}"
                try:
                    yield Staging(self, scratch)
                finally:
                    _clear(scratch)
            finally:
                for folder in made:
                    with contextlib.suppress(OSError):  # the output is in it
                        folder.rmdir()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise OutsideError(
                "the disk is full" if full else f"{self.path.name} cannot be written",
                output=str(self.path),
                cause=error.strerror or str(error),
                remedy="free some space or choose another --output; nothing was written"
                if full
                else "choose another --output, or mend the permissions of its folder",
            ) from None


class Staging:
    """An output in the making.

    Attributes:
        path: where to write it: nothing is there yet.
        rejected: where to write the list of rejected rows, if there are any.
    """

    def __init__(self, target: Target, scratch: Path) -> None:
        (scratch / "new").mkdir(parents=True)
        (scratch / "old").mkdir()
        self.path = scratch / "new" / target.path.name
        self.rejected = scratch / "new" / target.rejected.name
        self._replaced = scratch / "old" / target.path.name
        self._target = target

    def publish(self) -> int:
        """Makes everything durable and visible; returns of how many files the output consists.

        The list of rejected rows comes first, so that there is no output without it.
        """
        target = self._target
        target.check()  # once more: somebody may have been faster
        files = _flush(self.path)
        if rejected := self.rejected.exists():
            _flush(self.rejected)
            self.rejected.replace(target.rejected)
        if target.path.is_dir():  # a folder cannot be replaced in one step
            target.path.rename(self._replaced)
        self.path.replace(target.path)
        if not rejected:
            target.rejected.unlink(missing_ok=True)
        _fsync(target.path.parent)
        return files


def _check_own(folder: Path, own: re.Pattern[str]) -> None:
    """Refuses to replace a folder in which there is anything that this program did not write."""
    for base, _, names in os.walk(folder):
        for name in names:
            relative = (Path(base) / name).relative_to(folder).as_posix()
            if not own.fullmatch(relative):
                raise ConfigError(
                    f"{folder.name} holds a file that this program did not write",
                    output=str(folder),
                    file=relative,
                    remedy="choose another --output, or move that file away",
                )


def _flush(path: Path) -> int:
    """Has a file, or a folder with all that is in it, outlive a power cut; counts the files."""
    files = 1 if path.is_file() else sum(len(names) for _, _, names in os.walk(path))
    if files > _FEW_FILES:
        os.sync()  # a call a picture takes milliseconds each
        return files
    for inside in (*path.rglob("*"), path):
        _fsync(inside)
    return files


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    """Takes away what killed runs left in a folder.

    Where nobody can tell whether one still runs (another host), after a day without a change.
    """
    for scratch in parent.glob(f"{_HIDDEN}*"):
        owner = Owner.parse(scratch.name.removeprefix(_HIDDEN).rpartition(".")[0])
        with contextlib.suppress(FileNotFoundError):  # its owner has just removed it
            age = time.time() - scratch.stat().st_mtime
            if owner and (owner.is_gone if owner.is_known else age > SECONDS_UNTIL_ABANDONED):
                _clear(scratch)


def _clear(scratch: Path) -> None:
    """Removes a hidden place; an output that was about to be replaced returns first."""
    for old in scratch.glob("old/*"):
        place = scratch.parent / old.name
        if not place.exists():
            old.rename(place)
    shutil.rmtree(scratch, ignore_errors=True)
