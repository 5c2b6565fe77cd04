"""Downloads from a real HTTP server on loopback that misbehaves as servers do."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import itertools
import multiprocessing
import random
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from loopback import serving

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.sources.download import Wanted, fault, fetch

NAME = "digits-idx3-ubyte.gz"
CONTENT = random.Random(0).randbytes(300_000)  # does not compress: breaks fall inside the file
BYTES = gzip.compress(CONTENT, mtime=0)
WANTED = Wanted(NAME, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
ELSE = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)


@dataclasses.dataclass
class Answer:
    """How the server answers one request."""

    body: bytes = BYTES
    status: int = 0
    ranges: bool = True
    stop_after: int | None = None  # close the connection after so many bytes
    pause: float = 0.0  # seconds before each KB
    length: bool = True
    location: str = ""
    content_range: str = ""


@dataclasses.dataclass
class Server:
    """Answers in turn, the last one again and again; remembers what it was asked and sent."""

    url: str = ""
    answers: list[Answer] = dataclasses.field(default_factory=list)
    asked: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    sent: int = 0

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.contextmanager
def running(*answers: Answer) -> Iterator[Server]:
    state = Server(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = state.next()
            wanted = self.headers["Range"]
            state.asked.append((self.path, wanted))
            status = answer.status or 200
            body = answer.body if status == 200 else b""
            if wanted and answer.ranges and not answer.status:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                status = 206 if start < len(body) else 416
                body = body[start:] if status == 206 else b""
            self.send_response(status)
            if answer.location:
                self.send_header("Location", answer.location)
            if status == 206:
                whole = len(answer.body)
                default = f"bytes {whole - len(body)}-{whole - 1}/{whole}"
                self.send_header("Content-Range", answer.content_range or default)
            if answer.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: answer.stop_after]
            with contextlib.suppress(OSError):
                for at in range(0, len(body), 1024):
                    time.sleep(answer.pause)
                    # Counted first: whoever has the last byte may ask how many there were.
                    state.sent += len(body[at : at + 1024])
                    self.wfile.write(body[at : at + 1024])

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        state.url = f"{address}/mnist"
        yield state


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def get(folder: Path, *mirrors: str, **options: object) -> Path:
    return fetch(WANTED, folder, mirrors, remedy="do without", **options)  # type: ignore[arg-type]


def test_a_file_is_fetched_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    with running(Answer()) as server:
        path = get(tmp_path / "new" / "folder", server.url, progress=lambda *a: seen.append(a))
    assert path.read_bytes() == BYTES
    assert [file.name for file in path.parent.iterdir()] == [NAME]
    assert server.asked == [(f"/mnist/{NAME}", None)]
    assert seen[-1] == (NAME, len(BYTES), len(BYTES))
    assert all(before[1] < after[1] for before, after in itertools.pairwise(seen))


def test_a_verified_file_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(BYTES)
    with running(Answer(status=500)) as server:
        assert get(tmp_path, server.url) == tmp_path / NAME
    assert server.asked == []


def test_a_damaged_file_in_the_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(BYTES[:-9])
    with running(Answer()) as server:
        assert get(tmp_path, server.url).read_bytes() == BYTES


def test_a_download_that_breaks_off_is_resumed(tmp_path: Path) -> None:
    with running(Answer(stop_after=200_000), Answer()) as server:
        assert get(tmp_path, server.url).read_bytes() == BYTES
    assert server.asked[0][1] is None
    assert server.asked[1][1] == "bytes=200000-"
    assert server.sent == len(BYTES)


def test_a_later_call_resumes_what_an_earlier_one_left(tmp_path: Path) -> None:
    with running(Answer(stop_after=100_000), Answer(status=503)) as server:
        with pytest.raises(OutsideError) as caught:
            get(tmp_path, server.url)
        assert caught.value.transient
        assert not (tmp_path / NAME).exists()
        server.answers = [Answer()]
        assert get(tmp_path, server.url).read_bytes() == BYTES
    assert server.asked[-1][1] == "bytes=100000-"
    assert server.sent == len(BYTES)


def test_a_server_that_ignores_range_sends_the_whole_file_again(tmp_path: Path) -> None:
    with running(Answer(stop_after=100_000), Answer(ranges=False)) as server:
        assert get(tmp_path, server.url).read_bytes() == BYTES
    assert server.asked[1][1] == "bytes=100000-"


def test_a_piece_that_is_already_whole_is_not_sent_again(tmp_path: Path) -> None:
    with running(Answer(stop_after=100_000), Answer(status=503)) as server:
        with pytest.raises(OutsideError):
            get(tmp_path, server.url)
        (piece,) = tmp_path.iterdir()
        piece.write_bytes(BYTES)
        server.answers, sent = [Answer()], server.sent
        assert get(tmp_path, server.url).read_bytes() == BYTES
    assert server.sent == sent  # 416: nothing beyond the piece


@pytest.mark.parametrize("size", [50_000, len(ELSE), 2_000_000])
def test_a_piece_of_something_else_is_thrown_away(tmp_path: Path, size: int) -> None:
    with running(Answer(stop_after=100_000), Answer(status=503)) as server:
        with pytest.raises(OutsideError):
            get(tmp_path, server.url)
        (piece,) = tmp_path.iterdir()
        piece.write_bytes((ELSE * 7)[:size])
        server.answers = [Answer()]
        assert get(tmp_path, server.url).read_bytes() == BYTES
    assert server.asked[-1][1] is None


def test_an_answer_for_another_range_is_not_appended(tmp_path: Path) -> None:
    answers = Answer(stop_after=100_000), Answer(content_range="bytes 5-9/10")
    with running(*answers) as server, pytest.raises(OutsideError) as caught:
        get(tmp_path, server.url)
    assert "another range" in caught.value.facts["mirrors"]


def test_the_next_mirror_serves_when_the_first_has_wrong_bytes(tmp_path: Path) -> None:
    with running(Answer(body=ELSE)) as first, running(Answer()) as second:
        assert get(tmp_path, first.url, second.url).read_bytes() == BYTES
    assert len(first.asked) == len(second.asked) == 1
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_pieces_of_different_mirrors_are_never_joined(tmp_path: Path) -> None:
    # The same content in another compression: its bytes cannot be continued with the first's.
    other = gzip.compress(CONTENT, compresslevel=1, mtime=7)
    broken = [Answer(stop_after=100_000), Answer(status=500)]
    with running(*broken) as first, running(Answer(body=other)) as second:
        assert get(tmp_path, first.url, second.url).read_bytes() == other
    assert second.asked == [(f"/mnist/{NAME}", None)]


def test_the_error_names_what_each_mirror_said_and_the_way_on(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{free.getsockname()[1]}"
    with (
        running(Answer(status=404)) as lost,
        running(Answer(body=ELSE)) as wrong,
        pytest.raises(OutsideError) as caught,
    ):
        get(tmp_path, lost.url, wrong.url, refusing, "ftp://127.0.0.1", "file:///etc")
    said = dict(line.split(": ", 1) for line in caught.value.facts["mirrors"].split("; "))
    assert said[lost.url].startswith("404")
    assert said[wrong.url].startswith("wrong bytes: sha256")
    assert "refused" in said[refusing].lower()
    assert "only http" in said["ftp://127.0.0.1"]
    assert "only http" in said["file:///etc"]
    assert caught.value.exit_code == 6
    assert caught.value.remedy == "do without"
    assert caught.value.transient  # a refused connection may be accepted later
    assert list(tmp_path.iterdir()) == []


def test_what_will_not_change_is_not_transient(tmp_path: Path) -> None:
    with running(Answer(status=404)) as server, pytest.raises(OutsideError) as caught:
        get(tmp_path, server.url)
    assert not caught.value.transient


def test_an_error_does_not_show_a_password(tmp_path: Path) -> None:
    with pytest.raises(OutsideError) as caught:
        get(tmp_path, "ftp://me:secret@127.0.0.1/x?token=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("length", [True, False])
def test_a_file_that_is_too_large_is_not_taken(tmp_path: Path, length: bool) -> None:
    large = Answer(body=BYTES + bytes(5_000_000), length=length)
    with running(large) as server, pytest.raises(OutsideError) as caught:
        get(tmp_path, server.url)
    assert "too many" in caught.value.facts["mirrors"]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= WANTED.most


def test_a_silent_server_is_left(tmp_path: Path) -> None:
    with running(Answer(pause=3.0)) as silent, running(Answer()) as second:
        start = time.monotonic()
        assert get(tmp_path, silent.url, second.url, timeout=0.2).read_bytes() == BYTES
        assert time.monotonic() - start < 2.0


def test_a_server_that_trickles_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_pipeline.sources.download.SLOWEST_BYTES_A_SECOND", 100_000)
    with running(Answer(pause=0.05)) as slow, running(Answer()) as second:
        assert get(tmp_path, slow.url, second.url, timeout=0.3).read_bytes() == BYTES
    assert len(second.asked) == 1


def test_a_slow_server_is_waited_for(tmp_path: Path) -> None:
    with running(Answer(pause=0.002)) as slow:
        assert get(tmp_path, slow.url, timeout=0.3).read_bytes() == BYTES
    assert len(slow.asked) == 1


def test_a_redirect_is_followed_but_not_out_of_http(tmp_path: Path) -> None:
    with running(Answer()) as target:
        moved = Answer(status=302, location=f"{target.url}/{NAME}")
        with running(moved) as server:
            assert get(tmp_path / "a", server.url).read_bytes() == BYTES
    source = tmp_path / "source.gz"
    source.write_bytes(BYTES)
    for location in (source.as_uri(), f"ftp://127.0.0.1/{NAME}"):
        moved = Answer(status=302, location=location)
        with running(moved) as server, pytest.raises(OutsideError, match="cannot be downloaded"):
            get(tmp_path / "b", server.url)


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutsideError, match="cannot be stored") as caught:
        get(tmp_path / "file" / "folder", "http://127.0.0.1:1")
    assert caught.value.facts["folder"].endswith("folder")


def _fetch_in_process(folder: Path, url: str, barrier: Callable[[], int]) -> None:
    barrier()
    get(folder, url)


def test_two_processes_share_one_download(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    with running(Answer(pause=0.001)) as server:
        workers = [
            context.Process(target=_fetch_in_process, args=(tmp_path, server.url, barrier.wait))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(server.asked) == 1
    assert (tmp_path / NAME).read_bytes() == BYTES


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (BYTES, None),
        (CONTENT, None),
        (ELSE, "sha256 "),
        (CONTENT[:-1], "299999 bytes"),
        (CONTENT + b"x", "more than 300000 bytes"),
        (BYTES[:-1], "a damaged gzip file"),
        (BYTES[:100_000], "a damaged gzip file"),
        (BYTES[:1000] + b"\0" * 16 + BYTES[1016:], "a damaged gzip file"),
        (b"\x1f\x8b\x07" + bytes(100), "a damaged gzip file"),
        (gzip.compress(bytes(50_000_000), 1), "more than 300000 bytes"),
        (b"", "0 bytes"),
    ],
)
def test_fault_says_what_is_wrong_with_a_file(
    tmp_path: Path, data: bytes, expected: str | None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = fault(path, WANTED)
    assert found is None if expected is None else (found or "").startswith(expected)
