"""A version as ONNX: the bundle's answers, whatever it is made of, or an error and no file."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from export_samples import MLP, MODELS, NORMALIZERS, ask, bundle_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError, OutsideError
from mnist_pipeline.export.onnx_file import IR_VERSION, OPSET, onnx_bytes, onnx_file
from mnist_pipeline.model.deskew import straighten
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.refs import sha256
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import FinishedVersion
from mnist_pipeline.testing.publishers import small_version

Digits = tuple[np.ndarray, np.ndarray]
LOOKS = [(name, views) for name in MODELS for views in (1, 5)] + [("mlp", 9), ("cnn", 9)]


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize(("model", "views"), LOOKS)
def test_the_answers_are_the_bundles(
    digits: Digits, model: str, views: int, normalizer: str
) -> None:
    images = digits[0][:200].copy()
    images[0], images[1] = 0, 255
    options = NORMALIZERS[normalizer]
    bundle = bundle_of(MODELS[model], images[2:], normalizer, options=options, views=views)
    labels, probabilities = ask(onnx_bytes(bundle, "digits", {}), images)
    expected = bundle.predict(images)
    assert (labels.dtype, probabilities.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_allclose(probabilities, expected.probabilities, rtol=0, atol=1e-5)
    assert probabilities.std() > 0.02  # they do not all say the same


@pytest.mark.parametrize("views", [1, 9])
@pytest.mark.parametrize("model", ["cnn", "mixed ensemble"])
def test_any_number_of_images_also_none(digits: Digits, model: str, views: int) -> None:
    bundle = bundle_of(MODELS[model], digits[0][:50], "deskew", views=views)
    data = onnx_bytes(bundle, "digits", {})
    whole = ask(data, digits[0][:40])[1]
    for count in (0, 1, 7):
        labels, probabilities = ask(data, digits[0][:count])
        assert (labels.shape, probabilities.shape) == ((count,), (count, 10))
        np.testing.assert_allclose(probabilities, whole[:count], rtol=0, atol=1e-6)


@pytest.mark.parametrize("views", [1, 5])
def test_another_runtime_reads_it_alike(digits: Digits, views: int) -> None:
    """ONNX's own reference implementation, which is NumPy and follows the standard's text."""
    bundle = bundle_of(MODELS["mixed ensemble"], digits[0][:50], "deskew", views=views)
    evaluator = onnx.reference.ReferenceEvaluator(
        onnx.load_from_string(onnx_bytes(bundle, "digits", {}))
    )
    labels, probabilities = evaluator.run(["label", "probabilities"], {"images": digits[0][:8]})
    expected = bundle.predict(digits[0][:8])
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_allclose(probabilities, expected.probabilities, rtol=0, atol=1e-5)


def test_other_images_and_classes_than_mnists() -> None:
    contract = ImageContract(6, 6, ("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 256, (40, 36), np.uint8)
    for normalizer in NORMALIZERS:
        bundle = bundle_of(MLP, images, normalizer, views=5, contract=contract)
        labels, probabilities = ask(onnx_bytes(bundle, "letters", {}), images)
        np.testing.assert_array_equal(labels, bundle.predict(images).labels)
        assert probabilities.shape == (40, 3)


@pytest.fixture(scope="module")
def deskewing(digits: Digits) -> bytes:
    """A graph whose probabilities tell every straightened pixel: weights that a network has not."""
    bundle = bundle_of({"kind": "softmax"}, digits[0][:50], "deskew")

    @dataclasses.dataclass(frozen=True)
    class Open(type(bundle.spec)):  # type: ignore[misc]
        def to_onnx(self, parameters: Any, normalizer: Any, pixels: Any) -> Any:
            return normalizer.to_onnx(pixels)

    everything = ImageContract(classes=tuple(map(str, range(784))))
    opened = dataclasses.replace(bundle, spec=Open(), contract=everything)
    return onnx_bytes(opened, "straightened", {})


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.003, 0.02, 0.2, 1.0]))
def test_deskew_is_the_same_to_the_last_bit(deskewing: bytes, seed: int, lit: float) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (200, 784), np.uint8)
    images[rng.random(images.shape) > lit] = 0
    straightened = ask(deskewing, images)[1]
    np.testing.assert_array_equal(np.rint(straightened * 255), straighten(images))


def test_deskew_of_drawn_digits(deskewing: bytes, digits: Digits) -> None:
    images = digits[0]
    assert (straighten(images) != images).any(axis=1).mean() > 0.9
    straightened = ask(deskewing, images)[1]
    np.testing.assert_array_equal(np.rint(straightened * 255), straighten(images))


def test_an_ensemble_normalizes_once(digits: Digits) -> None:
    def operators(model: str) -> list[str]:
        data = onnx_bytes(bundle_of(MODELS[model], digits[0][:50], "deskew"), "digits", {})
        return [node.op_type for node in onnx.load_from_string(data).graph.node]

    assert operators("mixed ensemble").count("GatherElements") == 1
    assert operators("mixed ensemble").count("Softmax") == 3


@pytest.fixture
def version(tmp_path) -> FinishedVersion:
    return small_version(Store.open(tmp_path / "w"))


def test_the_file_says_what_it_is_and_is_always_the_same(version: FinishedVersion) -> None:
    exported = onnx_file(version)
    assert onnx_file(version) == exported
    assert (exported.images, exported.largest_difference <= 1e-5) == (32, True)
    model = onnx.load_from_string(exported.data)
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    assert (model.producer_name, model.graph.name) == ("mnist-pipeline", "digits")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert (about["name"], about["version"]) == ("digits", "1")
    assert about["manifest_sha256"] == sha256(version.manifest.to_bytes())
    assert json.loads(about["classes"]) == list("0123456789")
    assert json.loads(about["contract"]) == ImageContract().to_json()
    assert about["contract_sha256"] == version.manifest.contract
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"images": ["N", 784], "label": ["N"], "probabilities": ["N", 10]}


def changed(version: FinishedVersion, to_onnx: Any) -> FinishedVersion:
    """The same version with a network that writes down something else."""
    wrong = dataclasses.dataclass(frozen=True)(type("Wrong", (Mlp,), {"to_onnx": to_onnx}))
    spec = wrong(hidden=version.bundle.spec.hidden)  # type: ignore[attr-defined]
    return dataclasses.replace(version, bundle=dataclasses.replace(version.bundle, spec=spec))


def _nearly(self, parameters, normalizer, pixels):
    right = Mlp.to_onnx(self, parameters, normalizer, pixels)
    return right + np.float32(2e-5)


def _backwards(self, parameters, normalizer, pixels):
    return np.float32(1) - Mlp.to_onnx(self, parameters, normalizer, pixels)


def _nan(self, parameters, normalizer, pixels):
    return Mlp.to_onnx(self, parameters, normalizer, pixels) + np.float32(np.nan)


@pytest.mark.parametrize("to_onnx", [_nearly, _backwards, _nan])
def test_a_graph_with_other_answers_is_not_handed_out(version, to_onnx) -> None:
    with pytest.raises(IntegrityError, match="does not give the answers of its golden batch"):
        onnx_file(changed(version, to_onnx))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_named(version, monkeypatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OutsideError, match=f"{package} is not installed") as caught:
        onnx_file(version)
    assert caught.value.exit_code == 6
    assert caught.value.remedy == "pip install 'mnist-pipeline[onnx]'"
