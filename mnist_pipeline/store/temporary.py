"""Files that dead processes left half-made in a workspace on local disk."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from mnist_pipeline.store.scratch import SCRATCH, abandoned_in

# obstore writes `name#1` and renames it; a listing does not show such files.
_STAGED = re.compile(r".+#[0-9]+")


@dataclasses.dataclass(frozen=True)
class Temporary:
    """A file or folder that nobody will finish; `size` in bytes."""

    path: Path
    size: int

    def remove(self) -> None:
        """Removes it; it is no error if it was gone already."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def temporaries(root: Path, shelves: Sequence[str], before: datetime) -> list[Temporary]:
    """What was left half-made, and not touched since `before`.

    Scratch folders of processes that are no more, objects in the middle of being written, downloads
    broken off.

    Args:
        root: the workspace's folder.
        shelves: the folders in it where objects lie.
        before: nothing younger is looked at.
    """
    found = abandoned_in(root / SCRATCH)
    found += [file for file in _files(root, shelves) if _STAGED.fullmatch(file.name)]
    found += [file for file in _files(root, ["downloads"]) if file.name.endswith(".part")]
    return [Temporary(path, _size(path)) for path in found if _older(path, before)]


def tidy(root: Path, shelves: Sequence[str], before: datetime) -> None:
    """Removes folders that have been empty since `before`: a removal broken off left them."""
    for shelf in shelves:
        for folder, _, _ in os.walk(root / shelf, topdown=False):
            path = Path(folder)
            if path != root / shelf and _older(path, before):
                with contextlib.suppress(OSError):  # it is not empty
                    path.rmdir()


def _files(root: Path, shelves: Sequence[str]) -> Iterator[Path]:
    for shelf in shelves:
        for folder, _, names in os.walk(root / shelf):
            yield from (Path(folder) / name for name in names)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else list(path.rglob("*"))
    size = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # its owner has just removed it
            size += file.lstat().st_size if file.is_file() else 0
    return size


def _older(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return False
