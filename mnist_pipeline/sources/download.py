"""Files over HTTP: mirrors in turn, resumed after a break, verified before they get their name."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.refs import sha256

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes there are, and the bytes there will be (None: not known)."""

TIMEOUT_SECONDS = 30.0
ATTEMPTS_A_MIRROR = 5
SLOWEST_BYTES_A_SECOND = 1024

_CHUNK = 1 << 18


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A file to have.

    Attributes:
        name: its name on mirrors and on disk.
        sha256: of its content, uncompressed if it is gzipped.
        size: bytes of its content, uncompressed.
    """

    name: str
    sha256: str
    size: int

    @property
    def most(self) -> int:
        """The most bytes it can take on the wire: deflate adds 5 a block of 16 kB, at worst."""
        return self.size + self.size // 1000 + 1024


class _MirrorError(Exception):
    """A mirror did not give the file; `again` if it may give the rest when asked again."""

    def __init__(self, said: str, *, again: bool = False, transient: bool = True) -> None:
        super().__init__(said)
        self.again = again
        self.transient = transient


def fault(path: Path, wanted: Wanted) -> str | None:
    """What is in the file instead of the wanted content; None if it is right.

    One pass in bounded memory, whatever the file unpacks to.

    Raises:
        OSError: the file cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.open(raw, "rb") if gzipped else raw as file:
                while chunk := file.read(_CHUNK):
                    size += len(chunk)
                    if size > wanted.size:
                        return f"more than {wanted.size} bytes"
                    digest.update(chunk)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            return f"a damaged gzip file ({error})"
    if size != wanted.size:
        return f"{size} bytes"
    return None if digest.hexdigest() == wanted.sha256 else f"sha256 {digest.hexdigest()}"


def fetch(
    wanted: Wanted,
    folder: Path,
    mirrors: Sequence[str],
    *,
    remedy: str,
    progress: Progress | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """Have a verified file in `folder`, from the first mirror that gives it.

    `mirrors` are addresses of folders, tried in this order; `remedy` says what a person can do when
    none of them gives it; `timeout` is how many seconds a mirror may be silent.

    Raises:
        OutsideError: no mirror gave the right bytes, or the folder cannot be written.
    """
    said: list[str] = []
    transient = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder):
            final = folder / wanted.name
            if final.exists() and fault(final, wanted) is None:
                return final
            for mirror in mirrors:
                url = f"{mirror.rstrip('/')}/{wanted.name}"
                part = folder / f"{wanted.name}.{sha256(url.encode())[:8]}.part"
                try:
                    _from_mirror(url, part, wanted, progress, timeout)
                except _MirrorError as error:
                    said.append(f"{_shown(mirror)}: {error}")
                    transient |= error.transient
                    continue
                part.replace(final)
                for other in folder.glob(f"{wanted.name}.*.part"):
                    other.unlink()
                return final
    except OSError as error:
        raise OutsideError(
            f"{wanted.name} cannot be stored",
            folder=str(folder),
            cause=error.strerror or str(error),
            remedy="free some space there, or name another folder for downloads",
        ) from None
    raise OutsideError(
        f"{wanted.name} cannot be downloaded",
        mirrors="; ".join(said) or "none given",
        remedy=remedy,
        transient=transient,
    )


def _from_mirror(
    url: str, part: Path, wanted: Wanted, progress: Progress | None, timeout: float
) -> None:
    """Fill `part` with the wanted file, taking up what an earlier attempt left there.

    Raises:
        _MirrorError: this mirror does not give it; what can be resumed later stays in `part`.
    """
    for attempt in range(1, ATTEMPTS_A_MIRROR + 1):
        try:
            resumed = _receive(url, part, wanted, progress, timeout)
        except _MirrorError as error:
            if not error.again or attempt == ATTEMPTS_A_MIRROR:
                raise
            continue
        found = fault(part, wanted)
        if found is None:
            return
        part.unlink()
        if not resumed:
            raise _MirrorError(f"wrong bytes: {found}", transient=False)
        # The old piece may have been the wrong one: once more, from the start.
    raise _MirrorError("wrong bytes in every attempt", transient=False)


def _receive(
    url: str, part: Path, wanted: Wanted, progress: Progress | None, timeout: float
) -> bool:
    """Append to `part` what is missing; return whether it held something before.

    Raises:
        _MirrorError: the mirror refuses, breaks off, stalls, or sends too much.
        OSError: `part` cannot be written.
    """
    offset = part.stat().st_size if part.exists() else 0
    if offset > wanted.most:
        part.unlink()
        offset = 0
    response = _open(url, offset, timeout)
    if response is None:
        return True
    with response:
        there, total = _range(response, offset)
        if total is not None and total > wanted.most:
            raise _MirrorError(f"offers {total} bytes, too many for this file", transient=False)
        done, start = there, time.monotonic()
        with part.open("ab" if there else "wb") as file:
            while chunk := _read(response, done, again=done > there):
                done += len(chunk)
                if done > wanted.most:
                    raise _MirrorError("sends too many bytes for this file", transient=False)
                file.write(chunk)
                if progress is not None:
                    progress(wanted.name, done, total)
                seconds = time.monotonic() - start
                if seconds > timeout and (done - there) / seconds < SLOWEST_BYTES_A_SECOND:
                    raise _MirrorError(f"too slow: {done - there} bytes in {seconds:.0f} s")
    if total is not None and done < total:
        raise _MirrorError(f"broken off after {done} of {total} bytes", again=done > there)
    return there > 0


def _open(url: str, offset: int, timeout: float) -> http.client.HTTPResponse | None:
    """The answer to a request for the bytes from `offset`; None if there are none beyond it."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise _MirrorError("only http and https addresses can be mirrors", transient=False)
    headers = {"User-Agent": "mnist-pipeline", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - scheme checked above
        response: Any = _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and offset:
            return None
        transient = error.code >= 500 or error.code in (408, 429)
        raise _MirrorError(f"{error.code} {error.reason}", transient=transient) from None
    except urllib.error.URLError as error:
        raise _MirrorError(_words(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _MirrorError(_words(error)) from None
    return response  # type: ignore[no-any-return]


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS through the usual proxies, and nothing else to be redirected to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _range(response: http.client.HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Where the answer begins, and the size of the whole file if the mirror says it.

    A mirror that ignores Range answers 200 and the whole file: then it begins at 0 again.
    """
    if response.status == 206:
        stated = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not stated or int(stated[1]) != offset:
            raise _MirrorError("answered with another range than it was asked for", transient=False)
        return offset, None if stated[2] == "*" else int(stated[2])
    if response.status != 200:
        raise _MirrorError(f"{response.status} {response.reason}", transient=False)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _read(response: http.client.HTTPResponse, done: int, *, again: bool) -> bytes:
    """The next bytes, as soon as there are any; empty at the end."""
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(f"{_words(error)} after {done} bytes", again=again) from None


def _words(error: BaseException | str) -> str:
    """What went wrong, in the words of the operating system if it has any."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _shown(url: str) -> str:
    """An address without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other processes from downloading into the folder, where it can be locked.

    Elsewhere two downloads at once spoil each other's piece, which the verification finds.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
