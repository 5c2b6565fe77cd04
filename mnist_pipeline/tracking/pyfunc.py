"""A version as a model that MLflow loads: the bundle's files, and who reads them.

`mlflow.pyfunc.load_model("models:/digits@champion").predict(images)` goes the one road to a
prediction, so this package must be installed where it is loaded, in the version that the model's
requirements name. In return no code travels with the model, nothing is unpickled, and its answers
are the registry's bit for bit. Models on servers name this module: it keeps its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_pipeline import __version__, plugins
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.store.bundles import GOLDEN, folder_files, golden_images, load_folder
from mnist_pipeline.store.manifest import packages_in
from mnist_pipeline.store.publishers import FinishedVersion

if TYPE_CHECKING:
    from pandas import DataFrame

EXAMPLES = 2
"""Images shown beside the model: its first golden ones."""


class Digits:
    """What MLflow calls for predictions."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> DataFrame:
        """Answers for images (N, 784) uint8, an array or a table with a column a pixel.

        Returns:
            A row an image: `label` uint8, `confidence` float32, and `probability_<class>` float32.
        """
        from pandas import DataFrame

        del params
        prediction = self.bundle.predict(np.asarray(model_input))
        columns = {"label": prediction.labels, "confidence": prediction.confidences}
        names = probability_columns(self.bundle)
        return DataFrame(columns | dict(zip(names, prediction.probabilities.T, strict=True)))


def _load_pyfunc(path: str) -> Digits:
    """What MLflow calls with the folder that `save_model` was given.

    Raises:
        IntegrityError: a file is damaged, or the model does not give its golden answers here.
    """
    return Digits(load_folder(path))


def probability_columns(bundle: Bundle) -> list[str]:
    """The columns with probabilities, one a class."""
    return [f"probability_{name}" for name in bundle.contract.classes]


def save_model(version: FinishedVersion, folder: Path, run_id: str, model_id: str) -> Path:
    """Writes a version as MLflow wants a model, into a new folder below `folder`."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model as save
    from mlflow.types import ColSpec, Schema, TensorSpec

    data = folder / "bundle"
    data.mkdir()
    for name, content in folder_files(version.read).items():
        (data / name).write_bytes(content)
    bundle = version.bundle
    columns = [ColSpec("integer", "label"), ColSpec("float", "confidence")]
    columns += [ColSpec("float", name) for name in probability_columns(bundle)]
    images = TensorSpec(np.dtype(np.uint8), (-1, bundle.contract.pixels))
    save(
        str(folder / "model"),
        loader_module=__name__,
        data_path=str(data),
        signature=ModelSignature(Schema([images]), Schema(columns)),
        input_example=golden_images(version.read(GOLDEN))[:EXAMPLES],
        pip_requirements=requirements(version),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
    )
    return folder / "model"


def requirements(version: FinishedVersion) -> list[str]:
    """What pip installs where the model is to be loaded: this package, those of its plugins.

    NumPy in the version that it was judged with, since that decides bits.
    """
    environment = version.manifest.environment
    packages = set(packages_in(environment).values())
    strangers = sorted(each for each in packages if each.split()[0] != plugins.OURS)
    ours = f"{plugins.OURS}=={__version__}"
    return [
        ours,
        f"numpy=={environment['numpy']}",
        *(each.replace(" ", "==") for each in strangers),
    ]
