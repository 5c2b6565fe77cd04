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
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnist_pipeline.sources.synthetic import draw_digits

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
def test_scheduled_runs_complete(server: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "night.toml"
    config.write_text(
        '[data]\nsources = ["synthetic:n=400"]\n[model]\nkind = "softmax"\n'
        "[train]\nepochs = 2\n[gate]\nmin_accuracy = 0\nmin_recall = 0\n"
    )
    (run, *_) = _serve_until_completed(server, tmp_path, "training", "--config", str(config))
    assert run["auto_scheduled"]
    assert (tmp_path / "workspace/models/digits/versions/1/manifest.json").exists()

    images = draw_digits(np.arange(10, dtype=np.uint8), np.random.default_rng(1))
    column = pa.array([image.tobytes() for image in images], pa.binary())
    pq.write_table(pa.table({"image": column}), tmp_path / "images.parquet")
    scoring = tmp_path / "scoring.toml"
    scoring.write_text(
        'inputs = ["images.parquet"]\noutput = "answers"\n[options]\nprobabilities = true\n'
    )
    _serve_until_completed(server, tmp_path, "scoring", "--score-config", str(scoring))
    answers = pq.read_table(tmp_path / "answers" / "images.parquet")
    assert answers["row_id"].to_pylist() == list(range(10))
    assert "probabilities" in answers.column_names


def _serve_until_completed(
    server: dict[str, str], folder: Path, flow: str, *words: str
) -> list[dict]:
    """Serves a deployment of a flow until a scheduled run of it completes; returns such runs."""
    api = server["PREFECT_API_URL"]
    command = [sys.executable, str(ROOT / "deployments" / "serve.py"), *words]
    command += ["--workspace", str(folder / "workspace"), "--seconds", "5"]
    with (folder / "serve.log").open("w") as log:
        # From another folder than the project's: entry points must not depend on it.
        process = subprocess.Popen(
            command, env=server, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(lambda: bool(_completed(api, flow)), 180)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
    return _completed(api, flow)


def _completed(api: str, flow: str) -> list[dict]:
    query = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    answer = httpx.post(f"{api}/flow_runs/filter", json=query, trust_env=False)
    return [run for run in answer.json() if run["auto_scheduled"]]
