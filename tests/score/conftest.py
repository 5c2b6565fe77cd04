"""A published model, and the command line that scores with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SETTINGS, write_idx

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.pipeline import run_pipeline
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.bundles import load_model
from mnist_pipeline.store.objects import Store

Score = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="session")
def scorer(tmp_path_factory: pytest.TempPathFactory, digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """A workspace with `digits@1`, champion."""
    images, labels = digits
    folder = tmp_path_factory.mktemp("scorer")
    write_idx(folder / "idx", "train", images[:400], labels[:400])
    write_idx(folder / "idx", "t10k", images[400:], labels[400:])
    layers = [parse_setting(setting) for setting in SETTINGS]
    config = resolve([*layers, {"data": {"sources": [f"idx:{folder / 'idx'}"]}}])
    workspace = folder / "workspace"
    assert run_pipeline(Run(Store.open(workspace), config)).outcome.status == "promoted"
    return workspace


@pytest.fixture(scope="session")
def model(scorer: Path) -> Bundle:
    return load_model("digits", scorer)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def score(scorer: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> Score:
    """`score(path, "--top-k", "3")` on the command line: exit code and JSON object.

    Answers go to `output` and the model is that of `scorer`, unless `to` or `workspace` is given.
    """

    def run(
        *words: str | Path, to: Path | str | None = None, workspace: Path | str | None = None
    ) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        place = ["--output", str(to or output), "--workspace", str(workspace or scorer), "--json"]
        code = main(["score", *map(str, words), *place])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        data: dict[str, Any] = json.loads(captured.out)
        if "rows" in data:
            assert data["rows"] == data["scored"] + data["abstained"] + sum(
                data["rejected"].values()
            )
        return code, data

    return run
