"""`deployments/serve.py`: scheduled runs from one machine, without a work pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real import ROOT, Prefect, wait_for

from mnist_pipeline.sources.synthetic import draw_digits

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def test_scheduled_runs_complete(prefect: Prefect, tmp_path: Path) -> None:
    config = tmp_path / "night.toml"
    config.write_text(
        '[data]\nsources = ["synthetic:n=400"]\n[model]\nkind = "softmax"\n'
        "[train]\nepochs = 2\n[gate]\nmin_accuracy = 0\nmin_recall = 0\n"
    )
    serve_until_completed(prefect, tmp_path, "training", "--config", str(config))
    assert (tmp_path / "workspace/models/digits/versions/1/manifest.json").exists()

    images = draw_digits(np.arange(10, dtype=np.uint8), np.random.default_rng(1))
    column = pa.array([image.tobytes() for image in images], pa.binary())
    pq.write_table(pa.table({"image": column}), tmp_path / "images.parquet")
    scoring = tmp_path / "scoring.toml"
    scoring.write_text(
        'inputs = ["images.parquet"]\noutput = "answers"\n[options]\nprobabilities = true\n'
    )
    serve_until_completed(prefect, tmp_path, "scoring", "--score-config", str(scoring))
    answers = pq.read_table(tmp_path / "answers" / "images.parquet")
    assert answers["row_id"].to_pylist() == list(range(10))
    assert "probabilities" in answers.column_names


def serve_until_completed(prefect: Prefect, folder: Path, flow: str, *words: str) -> None:
    """Serves a deployment of a flow until a scheduled run of it completes."""
    before = len(prefect.runs(flow, "Completed"))
    command = [sys.executable, str(ROOT / "deployments" / "serve.py"), *words]
    command += ["--workspace", str(folder / "workspace"), "--seconds", "5"]
    with (folder / "serve.log").open("w") as log:
        # From another folder than the project's: entry points must not depend on it.
        process = subprocess.Popen(
            command,
            env=prefect.environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(lambda: len(prefect.runs(flow, "Completed")) > before, 180)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)
    prefect.delete_deployment(f"{flow}/nightly")
