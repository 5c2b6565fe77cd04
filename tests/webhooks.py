"""A webhook on loopback that keeps what it is told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback import serving


class Webhook:
    """An HTTP server that keeps the JSON bodies it is sent.

    Attributes:
        told: the bodies, in order.
        answers: the status codes of the next answers; 200 when there are no more.
        asked: how often it was asked.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.asked = 0
        self.url = ""


@contextlib.contextmanager
def listening_webhook() -> Iterator[Webhook]:
    """A webhook on loopback."""
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.asked += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = webhook.answers.pop(0) if webhook.answers else 200
            if code == 200:
                webhook.told.append(json.loads(body))
            self.send_response(code)
            if code in (301, 302, 307):
                self.send_header("Location", webhook.url)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        webhook.url = f"{address}/secret-path"
        yield webhook
