"""Scratch folders: private places for files in the making, from where these are moved into place.

They are swept once their process is no more.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mnist_pipeline.store.owner import Owner

SCRATCH = ".scratch"
SECONDS_UNTIL_ABANDONED = 86_400
_ELSEWHERE = "mnist-pipeline."


def make_scratch(root: Path | None) -> Path:
    """A new empty folder below a store's root, or among the system's temporary files.

    What processes of this host left behind when they were killed is swept away.

    Raises:
        OSError: it cannot be made.
    """
    name = f"{Owner.this()}."
    if root is None:
        _sweep_elsewhere(Path(tempfile.gettempdir()))
        return Path(tempfile.mkdtemp(prefix=_ELSEWHERE + name))
    base = root / SCRATCH
    base.mkdir(parents=True, exist_ok=True)
    for folder in abandoned_in(base):
        shutil.rmtree(folder, ignore_errors=True)
    own = base / (name + secrets.token_hex(4))
    own.mkdir()
    return own


@contextlib.contextmanager
def removed_afterwards(folder: Path) -> Iterator[Path]:
    """A folder that is there inside the `with` block and no longer."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move(path: Path, target: Path) -> None:
    """Renames a finished file, whoever tidies away the folder it goes to at the same moment."""
    while True:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            break
        except FileNotFoundError:
            path.stat()  # is it this one that is missing?
        except FileExistsError:  # of mkdir: there was a folder, and it is gone
            if target.parent.is_file():
                raise
    with contextlib.suppress(FileNotFoundError):
        fsync(target.parent)


def fsync(path: Path) -> None:
    """Makes a file, or the names in a folder, outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def abandoned_in(base: Path) -> list[Path]:
    """The scratch folders below a store's root that nobody needs any more."""
    folders = sorted(base.iterdir()) if base.is_dir() else []
    owners = [Owner.parse(folder.name.rpartition(".")[0]) for folder in folders]
    return [f for f, owner in zip(folders, owners, strict=True) if _is_abandoned(f, owner)]


def _sweep_elsewhere(base: Path) -> None:
    """As in a store, but others' folders lie here too: only names that say whose they are."""
    for folder in base.glob(f"{_ELSEWHERE}*"):
        owner = Owner.parse(folder.name.removeprefix(_ELSEWHERE).rpartition(".")[0])
        if owner and _is_abandoned(folder, owner):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path, owner: Owner | None) -> bool:
    """Where nobody can tell (another host, another container), after a day without a change."""
    if owner and owner.is_known:
        return owner.is_gone
    try:
        return time.time() - folder.stat().st_mtime > SECONDS_UNTIL_ABANDONED
    except FileNotFoundError:  # its owner has just removed it
        return False
