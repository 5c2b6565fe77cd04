"""A real MLflow server on loopback, in an environment of its own, and what may stand before it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tracking_proxy import Proxy, proxying

from mnist_pipeline.tracking import publisher

PROGRAM = "MNIST_PIPELINE_TEST_MLFLOW"
"""The environment variable with the path of a full MLflow's program: `…/bin/mlflow`."""


class TrackingServer:
    """`mlflow server` on SQLite, to be killed and started again on the same port."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self._command = [
            *(program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        # Its own packages, not those of the environment that tests it.
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                env={**kept, **quiet},
                start_new_session=True,
                cwd=self.folder,
            )
        end = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "MLflow's server did not start"
            time.sleep(0.2)

    def kill(self) -> None:
        """-9 for the server and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except OSError:
            return False


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """The server of all tests here; one that kills it starts it again."""
    program = os.environ.get(PROGRAM)
    if not program:
        assert "CI" not in os.environ, f"{PROGRAM} names no program: see .ci/run"
        pytest.skip(f"needs a full MLflow of its own: {PROGRAM}=…/bin/mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = TrackingServer(program, tmp_path_factory.mktemp("mlflow"), port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(tracking_server: TrackingServer) -> Iterator[Proxy]:
    """The server's door: everything goes through it, and it may be told to spoil something."""
    with proxying(tracking_server.port) as found:
        yield found


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests, and no waiting between tries."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(publisher, "PAUSES", (0.01, 0.01))
