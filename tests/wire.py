"""What goes over the wire to an S3 server: a proxy that counts, and can be in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

from loopback import serving

Fault = Literal["error", "cut", "hang", "lost", "half"]
"""A 503; a line cut before the request arrives; no answer; an answer that is lost; half of it."""


class Wire(ThreadingHTTPServer):
    """Passes requests on to a server.

    Attributes:
        calls: how many requests there were.
        fetched: the keys of objects whose bytes were asked for, in order.
        listings: how often something was listed.
        carried: bytes of all answers' bodies.
        before: called with the key before an object's bytes are asked for.
        fault: what happens to the n-th request, counted from 1, of a method; None: nothing.
        delay: seconds that every request takes longer.
    """

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.before: Callable[[str], None] = lambda key: None
        self.fault: Callable[[int, str], Fault | None] = lambda n, method: None
        self.delay = 0.0
        self.counting = threading.Lock()
        self.url = ""
        self.forget()

    def forget(self) -> None:
        self.fetched: list[str] = []
        self.calls = self.listings = self.carried = 0

    def handle_error(self, *_: object) -> None:
        """A client that has gone away is none of our business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for its headers to be acknowledged
    server: Wire

    def do_GET(self) -> None:
        wire, parts = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        with wire.counting:
            wire.calls += 1
            fault = wire.fault(wire.calls, self.command)
        time.sleep(wire.delay)
        if fault in ("cut", "hang"):
            self._hang_up(after=60 if fault == "hang" else 0)
            return
        if fault == "error":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        key = unquote(parts.path).lstrip("/").partition("/")[2]
        if self.command == "GET" and "list-type" in parts.query:
            wire.listings += 1
        elif self.command == "GET":
            wire.fetched.append(key)
            wire.before(key)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "accept-encoding"}
        onward = HTTPConnection(urlsplit(wire.server).netloc, timeout=30)
        onward.request(self.command, self.path, body=body, headers=headers)
        answer = onward.getresponse()
        data = answer.read()
        onward.close()
        wire.carried += len(data)
        if fault == "lost":
            self._hang_up()
            return
        self._answer(answer.status, dict(answer.getheaders()), data, half=fault == "half")

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (http.server's names)

    def _answer(
        self, status: int, headers: dict[str, str], data: bytes, half: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = len(data) if data else headers.get("Content-Length", "0")  # of HEAD
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.close_connection |= half

    def _hang_up(self, after: float = 0) -> None:
        """Closes the line without a word, after so many seconds or when the other side does."""
        self.close_connection = True
        if after:
            self.connection.settimeout(after)
            self.connection.recv(1)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wire_to(server: str) -> Iterator[Wire]:
    """A `Wire` that is up inside the block."""
    wire = Wire(server)
    with serving(wire) as wire.url:
        yield wire
