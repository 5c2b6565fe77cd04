"""On MNIST's 10,000 test images: what onnxruntime reads is what the bundle reads."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from export_samples import ask

from mnist_pipeline import plugins
from mnist_pipeline.contract.records import PartInput
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.export.onnx_file import onnx_bytes
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.ensemble import Ensemble, joined
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.recipe import Recipe
from mnist_pipeline.model.trainer import train

pytestmark = pytest.mark.integration

ROWS = 6_000
MLP = {"kind": "mlp", "hidden": [256, 128]}
CNN = {"kind": "cnn", "stages": [[8], [16, 16]], "hidden": [32]}
NORMALIZERS: dict[str, Mapping[str, Any]] = {
    "scale": {},
    "standardize": {},
    "deskew": {},
    "deskew standardize": {"values": "standardize"},
}


@pytest.fixture(scope="module")
def mnist() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of MNIST by role: `train` (the first rows of it) and `exam`."""
    if "MNIST_DATA_DIR" not in os.environ:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's IDX files")
    parts: list[PartInput] = plugins.build(
        "source", "idx", {"path": os.environ["MNIST_DATA_DIR"]}
    ).parts()
    found = {}
    for part in parts:
        blocks = list(part.read(ImageContract()))
        images = np.concatenate([block.images for block in blocks])
        found[part.role] = (images, np.concatenate([block.labels for block in blocks]))
    images, labels = found["train"]
    return found | {"train": (images[:ROWS], labels[:ROWS])}


@pytest.fixture(scope="module", params=NORMALIZERS)
def bundles(request: pytest.FixtureRequest, mnist) -> dict[str, Bundle]:
    """A perceptron, a convolutional network and both together, trained for a few seconds."""
    images, labels = mnist["train"]
    name = request.param.split()[0]
    normalizer = FittedNormalizer.fit(name, NORMALIZERS[request.param], [images])
    contract, found = ImageContract(), {}
    for table in (MLP, CNN):
        options = {key: value for key, value in table.items() if key != "kind"}
        model = plugins.build("model", table["kind"], options)
        trained = train(model, images, labels, normalizer, Recipe(epochs=3), classes=10)
        name = f"{table['kind']}.v1"
        found[table["kind"]] = Bundle(contract, normalizer, name, model, trained.parameters)
    both = Ensemble(member=(MLP, CNN), members=2)
    parameters = joined([bundle.parameters for bundle in found.values()])
    return found | {"both": Bundle(contract, normalizer, "ensemble.v1", both, parameters)}


@pytest.mark.parametrize(("kind", "views"), [("mlp", 1), ("cnn", 1), ("both", 1), ("mlp", 9)])
def test_every_label_is_equal(bundles, mnist, kind: str, views: int) -> None:
    images, labels = mnist["exam"]
    assert len(images) == 10_000
    bundle = dataclasses.replace(bundles[kind], views=views)
    expected = bundle.predict(images)
    assert np.mean(expected.labels == labels) > 0.9
    answers, probabilities = ask(onnx_bytes(bundle, "digits", {}), images)
    np.testing.assert_array_equal(answers, expected.labels)
    np.testing.assert_allclose(probabilities, expected.probabilities, rtol=0, atol=1e-5)
