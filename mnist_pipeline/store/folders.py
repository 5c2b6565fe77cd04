"""A folder as the place of a store: made, resolved, and refused where it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.store.faults import WorkspaceMissingError


def folder_at(place: str, called: str, *, writable: bool) -> Path:
    """The folder of a place on disk, absolute; made, if it will be written and is not there.

    Raises:
        WorkspaceMissingError: it is not there, and will be read only.
        OutsideError: it cannot be made, written or read.
    """
    folder = Path(os.path.expanduser(place.removeprefix("file://")))  # noqa: PTH111 (never fails)
    facts: dict[str, Any] = {called: place}
    try:
        if writable:
            folder.mkdir(parents=True, exist_ok=True)
        root = folder.resolve(strict=True)
        if not root.is_dir():
            raise NotADirectoryError(20, "it is a file, not a folder")
        effective = os.access in os.supports_effective_ids
        if writable and not os.access(root, os.W_OK | os.X_OK, effective_ids=effective):
            raise PermissionError(13, "Permission denied", str(root))
        return root
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not writable:
            raise WorkspaceMissingError(
                "there is no workspace",
                workspace=place,
                remedy="check --workspace; `mnist-pipeline train` makes one",
            ) from None
        taken = isinstance(error, FileExistsError)
        raise OutsideError(
            f"the {called} cannot be {'written' if writable else 'read'}",
            cause="it is a file, not a folder" if taken else error.strerror or str(error),
            remedy=f"choose another folder with --{called} or mend its permissions",
            **facts,
        ) from None
