"""What can go wrong with a store, in this program's words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from mnist_pipeline.errors import IntegrityError, OutsideError

_NOT_BY_WAITING = (NotFoundError, PermissionDeniedError, UnauthenticatedError)


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
        if verb == "write" and remote:  # it is the bucket that is missing
            raise _outside(verb, key, called, url, remote, error) from error
        raise missing(key, called) from None
    except (BaseError, OSError) as error:
        raise _outside(verb, key, called, url, remote, error) from error


def _outside(
    verb: str, key: str, called: str, url: str, remote: bool, error: Exception
) -> OutsideError:
    full = is_full(error)
    if full:
        remedy = f"free some space or choose another --{called}; nothing was published"
    elif remote:
        remedy = "check the URL, that its bucket exists, and the credentials in the environment"
    else:
        remedy = f"check that the {called} can be reached and written"
    what = f"the store cannot {verb} an object"
    if verb == "list":
        what = f"the {called} cannot be listed"
    return OutsideError(
        "the disk is full" if full else what,
        key=key or None,
        # A URL's query may hold a signature that opens the bucket to whoever reads it.
        cause=re.sub(r"(://[^\s?]*)\?\S+", r"\1?…", str(error).partition("\n")[0]),
        remedy=remedy,
        transient=remote and not full and not isinstance(error, _NOT_BY_WAITING),
        **{called: url},
    )


def is_full(error: Exception) -> bool:
    """Whether a disk has no room; writers of files in the making say so in words."""
    return "No space left" in str(error) or "quota exceeded" in str(error)


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
