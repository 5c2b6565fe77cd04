"""The sample plugin, installed into a fresh environment: the whole pipeline with nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback import serving
from sample import SAMPLE, fresh_environment, install, write_pictures

from mnist_pipeline.data.parquet import bytes_column

pytestmark = pytest.mark.integration

RUN = "from mnist_pipeline.cli import entry_point; entry_point()"
SETTINGS = (
    "normalize.kind=minmax",
    "model.kind=random_features",
    'gate.rules=["floors", "mcnemar", "inference_time"]',
    "gate.min_accuracy=0",
    "gate.min_recall=0",
    "gate.max_microseconds=100000",
    "publish.to=webhook",
    "train.epochs=5",
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = fresh_environment(tmp_path_factory.mktemp("fresh") / "env")
    install(found, SAMPLE)
    return found


@pytest.fixture
def shelf() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that keeps what is PUT there: its address and its JSON bodies by path."""
    kept: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            kept[self.path] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield f"{address}/secret", kept


@pytest.mark.parametrize("engine", ["plain", "prefect"])
def test_every_seam_by_outsiders_through_the_command_line(
    python: Path, tmp_path: Path, digits, shelf, engine: str
) -> None:
    address, kept = shelf
    images, labels = digits
    write_pictures(tmp_path / "pictures", images, labels)

    def run(*words: str, expect: int = 0, **more: str) -> dict[str, Any]:
        command = [python, "-c", RUN, *words, "--json", "--workspace", "w"]
        environment = {**os.environ, **more}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110
        )
        assert done.returncode == expect, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert address not in done.stdout + done.stderr
        return json.loads(done.stdout)

    listed = {(p["seam"], p["name"]) for p in run("plugins")["plugins"] if "sample" in p["package"]}
    assert len({seam for seam, _ in listed}) == 5
    train = ["train", "--engine", engine, "--source", "folders:pictures"]
    train += [word for setting in SETTINGS for word in ("--set", setting)]

    # Nobody knows the address: the registry has the version, and the run says what is missing.
    result = run(*train, expect=6)
    assert (result["status"], result["version"]) == ("promoted", 1)
    (missing,) = result["published"]
    assert (missing["to"], missing["ok"]) == ("webhook.v1", False)
    assert "models publish digits@1 --to webhook" in missing["error"]["remedy"]
    assert any(reason.startswith("fast_enough") for reason in result["reasons"])
    later = run("models", "publish", "digits@1", "--to", "webhook", expect=6)
    assert "set DIGITS_WEBHOOK" in later["error"]["remedy"]
    assert kept == {}

    published = run("models", "publish", "digits@1", "--to", "webhook", DIGITS_WEBHOOK=address)
    assert published["ok"]
    assert kept["/secret/digits/1"]["kind"] == "random_features.v1"
    assert kept["/secret/digits/1"]["champion"]
    kept.clear()
    # What has arrived is not sent again by a run that changes nothing.
    again = run(*train, DIGITS_WEBHOOK=address)
    assert (again["status"], again["published"][0]["ok"], kept) == ("unchanged", True, {})

    pq.write_table(pa.table({"image": bytes_column(images[:20])}), tmp_path / "new.parquet")
    assert run("score", "new.parquet", "--output", "answers")["scored"] == 20
