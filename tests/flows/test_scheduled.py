"""A *scheduled* run really appears and completes, on a real server.

Newer SQLAlchemy and FastAPI than the pinned ones break exactly this, and nothing else shows it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own on a free port; yields the environment that leads to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [str(PREFECT), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(lambda: _healthy(environment["PREFECT_API_URL"]), 120)
            yield environment
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.5)


@pytest.mark.integration
@pytest.mark.timeout(400)
def test_a_scheduled_run_completes(server: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "night.toml"
    config.write_text(
        '[data]\nsources = ["synthetic:n=400"]\n[model]\nkind = "softmax"\n'
        "[train]\nepochs = 2\n[gate]\nmin_accuracy = 0\nmin_recall = 0\n"
    )
    command = [sys.executable, str(ROOT / "deployments" / "serve.py"), "--config", str(config)]
    command += ["--workspace", str(tmp_path / "workspace"), "--seconds", "5"]
    with (tmp_path / "serve.log").open("w") as log:
        # From another folder than the project's: entry points must not depend on it.
        process = subprocess.Popen(
            command, env=server, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(lambda: _completed(server["PREFECT_API_URL"]), 180)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
    (run, *_) = _completed(server["PREFECT_API_URL"])
    assert run["auto_scheduled"]
    assert (tmp_path / "workspace/models/digits/versions/1/manifest.json").exists()


def _completed(api: str) -> list[dict]:
    query = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    answer = httpx.post(f"{api}/flow_runs/filter", json=query, trust_env=False)
    return [run for run in answer.json() if run["auto_scheduled"]]
