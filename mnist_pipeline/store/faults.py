"""What can go wrong with a store, in this program's words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from mnist_pipeline.errors import IntegrityError, OutsideError
from mnist_pipeline.store.credentials import credentials_of, without_query
from mnist_pipeline.store.places import TIMEOUT

_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound|bucket does not exist")
"""How S3, Azure and Google say that it is not the object that is missing."""
_REFUSED = re.compile(r"status code: 40[13]\b")
_METADATA_SERVICE = "169.254.169.254"
"""Where machines of the cloud ask for credentials, and others in vain when they have none."""


class ObjectMissingError(IntegrityError):
    """A key that should be in the store is not."""


class ObjectChangedError(IntegrityError):
    """An object was replaced while it was read."""


class WorkspaceMissingError(OutsideError):
    """A reader was sent to a workspace that does not exist."""


@contextlib.contextmanager
def explained(verb: str, key: str, called: str, url: str, *, remote: bool) -> Iterator[None]:
    """Turns what a backend raises into this program's errors, but for `AlreadyExistsError`.

    Args:
        verb: what is done: `read`, `write`, `list`, …
        key: to which object.
        called: what the store is called, see `Store`.
        url: where it is.
        remote: whether it is not on local disk.
    """
    try:
        yield
    except AlreadyExistsError:
        raise
    except PreconditionError:
        raise changed(key, called) from None
    except (NotFoundError, FileNotFoundError) as error:
        if remote and (verb in ("write", "list") or _NO_BUCKET.search(str(error))):
            raise _outside(verb, key, called, url, remote, error) from error
        raise missing(key, called) from None
    except (BaseError, OSError) as error:
        raise _outside(verb, key, called, url, remote, error) from error


def _outside(
    verb: str, key: str, called: str, url: str, remote: bool, error: Exception
) -> OutsideError:
    what = (
        f"the {called} cannot be listed" if verb == "list" else f"the store cannot {verb} an object"
    )
    said, transient = str(error), False
    if is_full(error):
        what, remedy = "the disk is full", f"free some space or choose another --{called}"
        remedy += "; nothing was published"
    elif not remote:
        remedy = f"check that the {called} can be reached and written"
    elif isinstance(error, NotFoundError | FileNotFoundError) or _NO_BUCKET.search(said):
        what, remedy = f"the {called}'s bucket does not exist", "make it, or check the URL"
    elif isinstance(error, InvalidPathError):  # others can write a//b and a/../b
        what = f"the {called} has an object that cannot be named"
        remedy = "name what lies beside it, or have whoever wrote it rename it"
    elif _METADATA_SERVICE in said:
        what = f"there are no credentials for the {called}"
        remedy = f"set {credentials_of(url)} in the environment"
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or _REFUSED.search(said):
        what = f"the bucket of the {called} refuses to {verb}"
        remedy = f"check {credentials_of(url)} in the environment, and what they may do"
    else:
        transient = True
        remedy = f"check the URL and the network, run it again; on a slow line set {TIMEOUT}=300"
    return OutsideError(
        what,
        key=key or None,
        cause=_on_one_line(said),
        remedy=remedy,
        transient=transient,
        **{called: url},
    )


def _on_one_line(said: str) -> str:
    """What a backend says; a server's answer may name the key that it refuses."""
    line = said.partition("\n")[0]
    code = re.search(r"<Code>(\w+)</Code>", said)
    line = re.sub(r"[ :-]*<[?\w].*", f": {code[1]}" if code else "", line)
    return without_query(line)


def is_full(error: Exception) -> bool:
    """Whether a disk has no room; writers of files in the making say so in words."""
    return "No space left" in str(error) or "quota exceeded" in str(error)


def no_store(called: str, url: str) -> OutsideError:
    """The error for a server that answers anything: a portal, a web server on another port."""
    where: dict[str, Any] = {called: url}
    return OutsideError(
        f"what answers for the {called} is no store",
        cause="it has an object that nobody has written",
        remedy="check the endpoint in the environment, and whether the network wants a login",
        **where,
    )


def changed(key: str, called: str) -> ObjectChangedError:
    """The error for an object that is another one than a moment ago."""
    return ObjectChangedError(
        f"an object of the {called} was replaced while it was read",
        key=key,
        remedy="run it again, when nobody writes there",
    )


def missing(key: str, called: str) -> ObjectMissingError:
    """The error for an object that is not there."""
    return ObjectMissingError(
        f"an object is missing from the {called}",
        key=key,
        remedy="restore it from a backup; parts and results of stages are made anew by a run",
    )
