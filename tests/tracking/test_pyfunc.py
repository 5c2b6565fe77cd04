"""A version as a folder that MLflow loads: the same answers, or none."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_pipeline import __version__
from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.store.manifest import PLUGIN
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import FinishedVersion
from mnist_pipeline.testing.publishers import small_version
from mnist_pipeline.tracking.pyfunc import requirements, save_model

# What MLflow says of its own code when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def version(tmp_path: Path) -> FinishedVersion:
    return small_version(Store.open(tmp_path / "workspace"))


def test_it_answers_as_the_bundle_does(version: FinishedVersion, tmp_path: Path, digits) -> None:
    import mlflow.pyfunc
    import pandas as pd

    folder = save_model(version, tmp_path, "a-run", "a-model")
    loaded = mlflow.pyfunc.load_model(str(folder))
    expected = version.bundle.predict(digits[0])
    for given in (digits[0], pd.DataFrame(digits[0]), digits[0][:0]):
        answers, n = loaded.predict(given), len(given)
        assert list(answers)[:3] == ["label", "confidence", "probability_0"]
        assert np.array_equal(answers["label"], expected.labels[:n])
        assert np.array_equal(answers["confidence"], expected.confidences[:n])
        assert np.array_equal(answers.filter(like="probability_"), expected.probabilities[:n])
    with pytest.raises(mlflow.MlflowException, match="int64 does not match expected dtype uint8"):
        loaded.predict(digits[0].astype(np.int64))


def test_a_file_that_was_changed_is_noticed(version: FinishedVersion, tmp_path: Path) -> None:
    import mlflow.pyfunc

    weights = save_model(version, tmp_path, "a-run", "a-model") / "data/bundle/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-200:] = bytes(200)
    weights.write_bytes(data)
    with pytest.raises(IntegrityError):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))


def test_it_requires_the_packages_of_its_plugins(version: FinishedVersion) -> None:
    known: dict[str, Any] = {**version.manifest.environment, "numpy": "2.4.6"}
    known |= {f"{PLUGIN}mlp.v1": "mnist-pipeline 0.0.1", f"{PLUGIN}minmax.v1": "digits-sample 1.0"}
    manifest = dataclasses.replace(version.manifest, environment=known)
    found = requirements(dataclasses.replace(version, manifest=manifest))
    assert found == [f"mnist-pipeline=={__version__}", "numpy==2.4.6", "digits-sample==1.0"]


def test_nothing_imports_mlflow_before_it_is_wanted() -> None:
    script = (
        "import sys, mnist_pipeline.tracking.publisher as p; p.Mlflow(uri='http://host:5000'); "
        "print(sorted({'mlflow', 'pandas'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stdout + output.stderr
