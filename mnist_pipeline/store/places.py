"""Places as users write them: folders, and URLs of buckets."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import MemoryStore, from_url

from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.store.credentials import profile_for

TIMEOUT = "MNIST_PIPELINE_STORE_TIMEOUT"
"""Environment variable: seconds that one request to a bucket may take."""
DEFAULT_TIMEOUT = 30.0

SCHEMES = ("file", "memory", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss")


def is_url(place: str) -> bool:
    """Whether a place is to be reached over a network."""
    return "://" in place and not place.startswith("file://")


def check_url(url: str, called: str) -> None:
    """Refuses a URL that cannot be a place; nothing is opened.

    Raises:
        ConfigError: its scheme is not supported, or it holds a password, which would end up in
            manifests, reports and logs.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ConfigError(
            f"the {called} cannot be on {scheme}://",
            **{called: _without_password(url)},
            remedy="use a folder or one of s3://, gs://, az://, abfs://, memory://",
        )
    if _without_password(url) != url:
        raise ConfigError(
            f"the {called} has a password in its URL",
            **{called: _without_password(url)},
            remedy=f"leave it out of {scheme}://; credentials belong into the environment",
        )


def backend_at(url: str, called: str) -> Any:
    """The store of obstore for a URL; for credentials see `profile_for`.

    Raises:
        ConfigError: see `check_url`.
        OutsideError: the URL cannot be used as it is, or its credentials cannot.
    """
    check_url(url, called)
    facts: dict[str, Any] = {called: url}
    if url.startswith("memory://"):
        return MemoryStore()
    timeout = timedelta(seconds=_timeout())
    # Whoever names an http:// endpoint in the environment wants no https://.
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    profile = profile_for(url)
    try:
        return from_url(
            url,
            client_options={"allow_http": plain, "timeout": timeout},
            retry_config={"retry_timeout": 2 * timeout},
            **({"credential_provider": profile} if profile else {}),
        )
    except (BaseError, ValueError) as error:
        raise OutsideError(
            f"the {called} cannot be opened",
            cause=str(error).partition("\n")[0],
            **facts,
            remedy="check the URL, and the account and credentials in the environment",
        ) from None


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


def _without_password(url: str) -> str:
    """`s3://user:secret@bucket` without the secret; `abfs://container@account` as it is."""
    return re.sub(r"://([^/@:]*):[^/@]*@", r"://\1:…@", url, count=1)
