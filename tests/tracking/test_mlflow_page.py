"""docs/mlflow.md as it stands, against a real server: its commands run, its Python answers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.store.bundles import load_model

PAGE = Path(__file__).parents[2] / "docs" / "mlflow.md"
BLOCK = re.compile(r"(?:`(?P<file>[\w.]+)`\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.DOTALL)


@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # what MLflow says of its own code when it is imported
def test_the_page_runs(tracking_server: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_PIPELINE_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["file"]:
            Path(block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "python":
            import mlflow

            mlflow.set_tracking_uri(tracking_server.url)
            exec(block["text"], names)
        else:
            (line,) = block["text"].splitlines()
            program, *words = shlex.split(line)
            if program == "export":
                monkeypatch.setenv(words[0].partition("=")[0], tracking_server.url)
            elif program == "mnist-pipeline":
                assert main(words) == 0, line
            else:
                assert line == "pip install 'mnist-pipeline[mlflow]'"
    expected = load_model("digits@champion").predict(names["images"])
    np.testing.assert_array_equal(names["answers"]["label"], expected.labels)
    assert list(names["answers"])[-1] == "probability_9"
