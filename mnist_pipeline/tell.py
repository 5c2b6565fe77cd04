"""Telling whoever wants to know: a webhook, to which a JSON body is sent when something went wrong.

`MNIST_PIPELINE_WEBHOOK` names it. Its address is a secret (whoever knows it can write there), so it
is in the environment, in no configuration, manifest or log. Slack, Mattermost and the like show
`text`; programs read the rest.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.reporting import Reporter

WEBHOOK = "MNIST_PIPELINE_WEBHOOK"
SECONDS_TO_ANSWER = 5.0
PAUSES = (1.0, 3.0)
"""Seconds before the second and the third try; there is no fourth."""


def nobody() -> bool:
    """Nobody else tells of a failure."""
    return False


def webhook() -> str | None:
    """The address of the webhook, if there is one.

    Raises:
        ConfigError: it is no http or https address; what it is instead is not said.
    """
    address = os.environ.get(WEBHOOK, "").strip()
    if not address:
        return None
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not address.isascii() or any(letter <= " " for letter in address):
        raise ConfigError(
            f"{WEBHOOK} is not the address of a webhook",
            expected="an http:// or https:// address",
            remedy="mend it in the environment, or unset it",
        )
    return address


def tell(event: str, text: str, reporter: Reporter, **facts: Any) -> bool:
    """Sends what happened to the webhook, if there is one; says whether it has arrived.

    A webhook that does not answer never fails a run; it is said.

    Args:
        event: `failed`, `blocked`, `held`, `unpublished` or `drifted`.
        text: the same in a sentence.
        reporter: who learns that nobody could be told.
        facts: what stands beside them in the body, JSON-able.
    """
    try:
        address = webhook()
    except ConfigError as error:
        reporter.note(f"nobody was told of this: {error.headline}")
        return False
    if address is None:
        return False
    told = {"event": event, "text": text, "host": socket.gethostname(), "time": _now(), **facts}
    body = json.dumps(told, ensure_ascii=False, default=str).encode()
    for pause in (*PAUSES, None):
        cause, lasting = _post(address, body)
        if cause is None:
            return True
        if lasting or pause is None:
            break
        time.sleep(pause)
    reporter.note(f"nobody was told of this: the webhook {cause}")
    return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, without its body."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _post(address: str, body: bytes) -> tuple[str | None, bool]:
    """Why a body did not arrive (None if it did), and whether it is no use to try again.

    No cause is taken from an exception's text: it may quote the address.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "mnist-pipeline"}
    request = urllib.request.Request(address, body, headers)  # noqa: S310 (http or https, checked)
    try:
        with _opener.open(request, timeout=SECONDS_TO_ANSWER):
            return None, False
    except urllib.error.HTTPError as error:
        error.close()
        return f"answers {error.code}", error.code < 500 and error.code not in (408, 429)
    except urllib.error.URLError as error:
        return f"cannot be reached ({type(error.reason).__name__})", False
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer ({type(error).__name__})", False


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
