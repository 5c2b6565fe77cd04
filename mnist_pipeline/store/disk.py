"""Files on a local disk: made to outlive a power cut, and put into their place."""

from __future__ import annotations

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Makes what was written to a file, or the names in a folder, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(path: Path, target: Path) -> None:
    """Renames a file to `target`, whose folder is made if need be.

    Raises:
        OSError: it cannot be done.
    """
    for last_try in (False, False, True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            return
        except (FileNotFoundError, FileExistsError):  # gc has just tidied the empty folder away
            if last_try or not path.exists():
                raise
