"""A door before a tracking server, or in its place: counts, refuses, cuts off, hangs."""

from __future__ import annotations

import base64
import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loopback import serving


class Proxy:
    """Hands requests on, and answers back.

    Attributes:
        asked: method and path of each request, in order.
        before, after: called with the number of a request, from 1, before it is handed on and
            before its answer goes back; where one returns True the connection is cut instead.
        status: what every request is answered with instead; None to hand it on.
        body: the body of such an answer.
        wants: the (user, password) that every request must bring.
        hanging: while set, requests are never answered.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.before: Callable[[int], bool] = lambda number: False
        self.after: Callable[[int], bool] = lambda number: False
        self.status: int | None = None
        self.body = b"<html>a proxy's page</html>"
        self.wants: tuple[str, str] | None = None
        self.hanging = threading.Event()
        self.over = threading.Event()
        self.url = ""


@contextlib.contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    """A proxy for the server at a port of this machine (0: there is none)."""
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            proxy.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            number = len(proxy.asked)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if proxy.hanging.is_set():
                proxy.over.wait(60)
                self.close_connection = True
                return
            if proxy.before(number):
                self.close_connection = True
                return
            status = proxy.status
            if proxy.wants is not None and self.headers.get("Authorization") != _basic(proxy.wants):
                status = 401
            if status is not None:
                self._answer(status, [("Content-Type", "text/html")], proxy.body)
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            finally:
                upstream.close()
            if proxy.after(number):
                self.close_connection = True
                return
            self._answer(answer.status, answer.getheaders(), data)

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._handle()

        def do_POST(self) -> None:
            self._handle()

        def do_PUT(self) -> None:
            self._handle()

        def do_PATCH(self) -> None:
            self._handle()

        def log_message(self, *_: object) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as proxy.url:
        try:
            yield proxy
        finally:
            proxy.over.set()


def _basic(credentials: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
