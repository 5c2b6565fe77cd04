"""Places as users write them: folders, and URLs of buckets."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from obstore.exceptions import BaseError
from obstore.store import MemoryStore, from_url

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.store.credentials import credentials_of, profile_for, without_query

TIMEOUT = "MNIST_PIPELINE_STORE_TIMEOUT"
"""Environment variable: seconds that one request to a bucket may take."""
DEFAULT_TIMEOUT = 30.0

SCHEMES = ("file", "memory", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
"""Environment variables that name another server than Amazon's."""

_BUCKET = re.compile(r"\w[\w.-]*")
_CONTAINER = re.compile(r"[\w$][\w.-]*(@[\w.-]+)?")  # abfs://container@account.dfs.core…


def is_url(place: str) -> bool:
    """Whether a place is to be reached over a network."""
    return "://" in place and not place.startswith("file://")


def check_url(url: str, called: str) -> None:
    """Refuses a URL that cannot be a place; nothing is opened.

    Raises:
        ConfigError: its scheme is not supported, it names no bucket, or it holds a password, which
            would end up in manifests, reports and logs.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    shown: dict[str, Any] = {called: without_query(url)}
    is_plain = (_CONTAINER if scheme.startswith("abfs") else _BUCKET).fullmatch(bucket) is not None
    has_password = "@" in rest and not is_plain
    if has_password:
        shown = {called: f"{scheme}://…@{rest.rpartition('@')[2].partition('?')[0]}"}
    if scheme not in SCHEMES:
        raise ConfigError(
            f"the {called} cannot be on {scheme}://",
            **shown,
            remedy="use a folder or one of s3://, gs://, az://, abfs://, memory://",
        )
    if scheme in ("file", "memory"):
        return
    if has_password:
        raise ConfigError(
            f"the {called} has a password in its URL",
            **shown,
            remedy=f"leave it out of {scheme}://; credentials belong in the environment",
        )
    if not is_plain:
        raise ConfigError(
            f"the {called} names no bucket", **shown, remedy=f"write {scheme}://BUCKET/FOLDER"
        )
    if key and not {"", ".", ".."}.isdisjoint(key.removesuffix("/").split("/")):
        raise ConfigError(
            f"the {called} has an empty step or one of dots in its URL",
            **shown,
            remedy="write each folder's name, with one / between them",
        )


def check_place(url: str, called: str) -> None:
    """`check_url`, where the URL is that of one place, not a pattern.

    Raises:
        ConfigError: see there; or it has a query, which may be a signature.
    """
    check_url(url, called)
    if "?" in url:
        raise ConfigError(
            f"the {called} has a query in its URL",
            **{called: without_query(url)},
            remedy="leave out what comes from the ? on; credentials belong in the environment",
        )


def backend_at(url: str, called: str) -> Any:
    """The store of obstore for a URL, whose letters all mean themselves; for credentials see
    `profile_for`.

    Raises:
        ConfigError: see `check_place`; or an endpoint in the environment is none.
        OutsideError: the URL cannot be used as it is, or its credentials cannot.
    """
    check_place(url, called)
    facts: dict[str, Any] = {called: url}
    if url.startswith("memory://"):
        return MemoryStore()
    timeout = timedelta(seconds=_timeout())
    profile = profile_for(url)
    scheme, _, rest = url.partition("://")
    bucket, slash, key = rest.partition("/")
    try:
        return from_url(
            f"{scheme}://{bucket}{slash}{quote(key)}",
            client_options={"allow_http": _is_plain(), "timeout": timeout},
            retry_config={"retry_timeout": 2 * timeout},
            **({"credential_provider": profile} if profile else {}),
        )
    except (BaseError, ValueError) as error:
        raise OutsideError(
            f"the {called} cannot be opened",
            cause=str(error).partition("\n")[0],
            **facts,
            remedy=f"check the URL, and {credentials_of(url)} in the environment",
        ) from None


def _is_plain() -> bool:
    """Whether the environment names an http:// endpoint: whoever does so wants no https://.

    Raises:
        ConfigError: what it names is none; obstore would not say so, but panic.
    """
    for name in ENDPOINTS:
        found = os.environ.get(name)
        if found and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", found):
            raise ConfigError(
                f"{name} is no endpoint",
                found=without_query(found),
                expected="http:// or https://, a host, perhaps a port",
                remedy=f"set {name}=https://…, or leave it out",
            )
    return any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS)


def _timeout() -> float:
    text = os.environ.get(TIMEOUT, str(DEFAULT_TIMEOUT))
    try:
        seconds = float(text)
        if 0.1 <= seconds <= 3600:
            return seconds
    except ValueError:
        pass
    raise ConfigError(
        f"{TIMEOUT} is a number of seconds", found=text, remedy="set it to 30, or leave it out"
    )
