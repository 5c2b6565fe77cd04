"""A workspace in a bucket whose line is bad, whose bucket is gone, whose credentials are wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import pytest
from loopback import serving
from obstore.store import from_url
from small import SETTING_WORDS, train_words
from store_samples import make_bundle, publish_bundle
from wire import Fault, Wire, wire_to

from mnist_pipeline.cli import main
from mnist_pipeline.errors import OutsideError
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import TIMEOUT
from mnist_pipeline.store.registry import Registry

pytestmark = pytest.mark.integration

KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "sesame-open-thyself"
Train = Callable[[str], tuple[int, dict[str, Any], str]]


@pytest.fixture
def wire(s3_server: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The line to the server; nobody waits for an answer for more than half a second."""
    with wire_to(s3_server) as wire:
        monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
        monkeypatch.setenv(TIMEOUT, "0.5")
        yield wire


@pytest.fixture
def store(wire: Wire, bucket: str) -> Store:
    return Store.open(f"{bucket}/workspace")


@pytest.fixture
def train(idx_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> Train:
    """Trains on the command line: the exit code, the error, and everything that was said."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)

    def run(workspace: str) -> tuple[int, dict[str, Any], str]:
        code = main(train_words(idx_folder, workspace))
        said = capsys.readouterr()
        return code, json.loads(said.out).get("error", {}), said.out + said.err

    return run


def strike(wire: Wire, fault: Fault, *, nth: int = 1, method: str = "") -> None:
    """The n-th request from now on, of one method or of any, meets a fault."""
    seen = 0

    def strikes(_: int, command: str) -> Fault | None:
        nonlocal seen
        seen += method in ("", command)
        return fault if seen == nth and method in ("", command) else None

    wire.fault = strikes


@pytest.mark.parametrize("fault", ["error", "cut", "lost", "hang"])
def test_who_wrote_first_knows_it_whatever_happens_to_the_answer(
    store: Store, wire: Wire, fault: Fault
) -> None:
    for number in range(3):
        strike(wire, fault)
        assert store.put_if_absent(f"claims/{number}", b"mine")
        assert not store.put_if_absent(f"claims/{number}", b"mine")


def test_whoever_comes_second_does_not_take_the_others_object_for_its_own(
    store: Store, wire: Wire
) -> None:
    assert store.put_if_absent("claim", b"the same bytes")
    strike(wire, "lost")
    assert not store.put_if_absent("claim", b"the same bytes")


def test_a_rollback_whose_answer_is_lost_goes_back_one_step(store: Store, wire: Wire) -> None:
    registry = Registry(store)
    for seed in (1, 2, 3):
        manifest = publish_bundle(store, make_bundle(seed))
        seen = registry.champion("digits")
        assert registry.promote("digits", manifest.version, "better", after=seen)
    strike(wire, "lost", method="PUT")
    registry.rollback("digits", "it reads badly")
    champions = [entry.value["version"] for entry in registry.champions("digits").history()]
    assert champions == [1, 2, 3, 2]


@pytest.mark.parametrize("fault", ["error", "cut", "half", "hang"])
def test_what_is_read_is_whole(store: Store, wire: Wire, fault: Fault) -> None:
    data = os.urandom(1 << 20)
    store.put("object", data)
    strike(wire, fault)
    assert store.get("object") == data
    strike(wire, fault)
    assert store.digest("object") == hashlib.sha256(data).hexdigest()
    strike(wire, fault)
    with store.local("object") as path:
        assert path.read_bytes() == data
    if fault != "half":  # half a listing is told, and not asked for again
        strike(wire, fault)
    assert [info.size for info in store.list("")] == [len(data)]


@pytest.mark.parametrize("fault", ["error", "cut", "lost"])
def test_a_large_file_arrives_whole_or_not_at_all(
    store: Store, wire: Wire, tmp_path: Path, fault: Fault
) -> None:
    """It goes in parts; the request that puts them together may be answered into the void."""
    data = os.urandom(12 << 20)
    call, calls = 0, 1
    while call < calls:
        call += 1
        (tmp_path / "file").write_bytes(data)
        key, before = f"large/{call}", wire.calls
        strike(wire, fault, nth=call)
        try:
            ref = store.upload(tmp_path / "file", key)
            assert store.verifies(ref)
        except OutsideError:
            assert not store.exists(key)
        calls = wire.calls - before
    assert call > 4  # begun, three parts, put together


def test_a_server_that_never_answers(train: Train, wire: Wire, bucket: str) -> None:
    wire.fault = lambda *_: "hang"
    started = time.monotonic()
    code, error, _ = train(f"{bucket}/workspace")
    assert code == 6
    assert TIMEOUT in error["remedy"]
    assert time.monotonic() - started < 30


def test_a_bucket_that_is_not_there(train: Train, wire: Wire) -> None:
    code, error, _ = train("s3://nobody-made-this/workspace")
    assert code == 6
    assert error["headline"] == "the workspace's bucket does not exist"


class _Page(BaseHTTPRequestHandler):
    """Answers everything with a web page, as a portal does that wants a login."""

    def do_GET(self) -> None:
        page = b"<html>Please log in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_HEAD = do_PUT = do_DELETE = do_POST = do_GET  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "words",
    [
        ["models", "list", "--workspace", "s3://bucket/ws"],
        ["models", "verify", "--workspace", "s3://bucket/ws"],
        ["gc", "--dry-run", "--workspace", "s3://bucket/ws"],
        ["validate", "csv:s3://bucket/landing/*.csv"],
        ["train", "--landing", "csv:s3://bucket/*.csv", "--source", "synthetic:n=300"],
    ],
    ids=lambda words: words[0],
)
def test_a_web_page_is_no_empty_bucket(
    words: list[str], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Page)) as url:
        for name, value in {
            "ENDPOINT_URL": url,
            "ACCESS_KEY_ID": "x",
            "SECRET_ACCESS_KEY": "y",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        assert main([*words, "--json"]) == 6
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["headline"].endswith("is no store")
    assert "endpoint" in error["remedy"]


def test_a_bucket_that_vanishes_in_the_middle(train: Train, wire: Wire, bucket: str) -> None:
    address = f"{wire.server}/{bucket.removeprefix('s3://')}"
    behind = from_url(bucket, endpoint=wire.server, client_options={"allow_http": True})

    def vanish(n: int, _: str) -> None:
        if n == 40:
            keys = [entry["path"] for page in obstore.list(behind) for entry in page]
            obstore.delete(behind, keys)
            request = urllib.request.Request(address, method="DELETE")
            urllib.request.urlopen(request, timeout=10).close()

    wire.fault = vanish  # type: ignore[assignment]
    code, error, _ = train(f"{bucket}/workspace")
    assert code == 6
    assert error["headline"] == "the workspace's bucket does not exist"


def test_wrong_credentials_are_told_and_not_repeated(
    train: Train, s3_server: str, bucket: str
) -> None:
    def free_calls(count: str) -> None:
        address = f"{s3_server}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(address, count.encode(), plain, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    free_calls("0")  # from now on the server wants to know who asks
    try:
        code, error, said = train(f"{bucket}/workspace")
    finally:
        free_calls("inf")
    assert code == 6
    assert error["headline"] == "the bucket of the workspace refuses to write"
    assert "AWS_ACCESS_KEY_ID" in error["remedy"]
    assert SECRET not in said
    assert KEY_ID not in said


def test_credentials_stand_in_nothing_that_is_written(
    train: Train, bucket: str, tmp_path: Path
) -> None:
    code, _, said = train(f"{bucket}/workspace")
    assert code == 0
    store = Store.open(f"{bucket}/workspace")
    everything = [said.encode(), *(store.get(info.key) for info in store.list(""))]
    assert len(everything) > 40
    for data in everything:
        assert SECRET.encode() not in data
        assert KEY_ID.encode() not in data


def test_the_profile_of_aws_tools(
    train: Train, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(f"[nights]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "nights")
    assert train(f"{bucket}/workspace")[0] == 0

    monkeypatch.setenv("AWS_PROFILE", "days")
    code, error, _ = train(f"{bucket}/workspace")
    assert code == 6
    assert error["headline"] == "the AWS profile has no credentials"

    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    code, error, _ = train(f"{bucket}/workspace")
    assert code == 6
    assert "mnist-pipeline[aws]" in error["remedy"]


MEMORY = """
import os, resource, sys
from pathlib import Path
from mnist_pipeline.store.objects import Store
store, file = Store.open(sys.argv[1]), Path(sys.argv[2])
small = file.with_name("small")
small.write_bytes(bytes(1 << 20))
store.upload(small, "small")  # what the client itself needs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ref = store.upload(file, "large")
assert store.verifies(ref)
assert store.digest("large") == ref.digest
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_large_files_go_and_come_in_bounded_memory(bucket: str, tmp_path: Path) -> None:
    megabytes = 400
    with (tmp_path / "large").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 20))
    command = [sys.executable, "-c", MEMORY, f"{bucket}/workspace", str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < megabytes / 2


def test_two_workspaces_of_one_bucket_do_not_see_each_other(
    bucket: str, idx_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "one/two"):
        words = ["train", "--source", f"idx:{idx_folder}", "--workspace", f"{bucket}/{name}"]
        assert main([*words, "--json", "--engine", "plain", *SETTING_WORDS]) == 0
        assert json.loads(capsys.readouterr().out)["version"] == 1
