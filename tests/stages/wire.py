"""What goes over the wire to an S3 server: a proxy that counts, and can act in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Wire(ThreadingHTTPServer):
    """Passes requests on to a server.

    Attributes:
        fetched: the keys of objects whose bytes were asked for, in order.
        listings: how often something was listed.
        carried: bytes of all answers' bodies.
        before: called with the key before an object's bytes are asked for.
    """

    daemon_threads = True

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self.before: Callable[[str], None] = lambda key: None
        self.forget()

    def forget(self) -> None:
        self.fetched: list[str] = []
        self.listings = self.carried = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Wire

    def do_GET(self) -> None:
        wire, parts = self.server, urlsplit(self.path)
        key = unquote(parts.path).lstrip("/").partition("/")[2]
        if self.command == "GET" and "list-type" in parts.query:
            wire.listings += 1
        elif self.command == "GET":
            wire.fetched.append(key)
            wire.before(key)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        headers = {k: v for k, v in self.headers.items() if k.lower() != "accept-encoding"}
        onward = HTTPConnection(urlsplit(wire.server).netloc, timeout=30)
        onward.request(self.command, self.path, body=body, headers=headers)
        answer = onward.getresponse()
        data = answer.read()
        onward.close()
        wire.carried += len(data)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = len(data) if data else answer.getheader("Content-Length", "0")  # of HEAD
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wire_to(server: str) -> Iterator[Wire]:
    """A `Wire` that is up inside the block."""
    with Wire(server) as wire:
        thread = threading.Thread(target=wire.serve_forever, daemon=True)
        thread.start()
        yield wire
        wire.shutdown()
        thread.join()
