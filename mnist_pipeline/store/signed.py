"""Writing into a bucket, where an answer may be lost.

A request whose answer is lost is sent again, and then finds the object there that it wrote itself.
So each write is signed with a number of its own, and whoever is told that there is something looks
whose it is.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Literal

import obstore
from obstore.exceptions import BaseError, GenericError


def put_signed(
    backend: Any, key: str, data: bytes | Path, mode: Literal["create", "overwrite"]
) -> None:
    """Writes an object; if this ends well, it was this call that wrote it.

    Args:
        backend: a store of obstore that keeps attributes: any but a local folder.
        key: under which key.
        data: its bytes; or a file, which goes in bounded memory, in parts if it is large.
        mode: whether it must not exist.

    Raises:
        AlreadyExistsError: somebody else's object is there (`create`).
        BaseError: it has not arrived, or nobody can say.
    """
    signature = {"writer": secrets.token_hex(16)}
    for last in (False, True):
        try:
            obstore.put(backend, key, data, mode=mode, attributes=signature)
            return
        except BaseError as error:
            if _is_signed(backend, key, signature):
                return
            # obstore itself tries again, but for a creation that was not answered in time: it
            # cannot know whether that arrived.
            if last or not isinstance(error, GenericError):
                raise


def _is_signed(backend: Any, key: str, signature: dict[str, str]) -> bool:
    try:
        return signature.items() <= obstore.get(backend, key).attributes.items()
    except FileNotFoundError:
        return False
