"""Bundles of every kind, with weights as if they had been trained, and what runs their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from mnist_pipeline import plugins
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.normalize import FittedNormalizer

MLP = {"kind": "mlp", "hidden": [24, 12]}
CNN = {"kind": "cnn", "stages": [[4], [6, 6]], "hidden": [16]}
MODELS: dict[str, Mapping[str, Any]] = {
    "softmax": {"kind": "softmax"},
    "mlp": MLP,
    "cnn": CNN,
    "cnn without padding": {"kind": "cnn", "stages": [[5]], "kernel": 5, "padding": 0},
    "cnn, odd sides": {"kind": "cnn", "stages": [[3], [3], [3]], "hidden": []},
    "ensemble": {"kind": "ensemble", "members": 2, "member": MLP},
    "mixed ensemble": {"kind": "ensemble", "members": 3, "member": [MLP, CNN]},
}
NORMALIZERS: dict[str, Mapping[str, Any]] = {
    "scale": {},
    "standardize": {},
    "deskew": {"values": "standardize"},
}


def bundle_of(
    model: Mapping[str, Any],
    images: np.ndarray,
    normalizer: str = "scale",
    *,
    options: Mapping[str, Any] | None = None,
    views: int = 1,
    contract: ImageContract | None = None,
) -> Bundle:
    """A bundle with random weights, calibrated on images (N, pixels), unlit pixels zeroed."""
    contract = contract or ImageContract()
    fitted = FittedNormalizer.fit(normalizer, options or {}, [images])
    info = plugins.resolve("model", model["kind"])
    spec = plugins.build("model", info.name, {k: v for k, v in model.items() if k != "kind"})
    rng = np.random.default_rng(1)
    parameters = {
        name: (array + 0.05 * rng.standard_normal(array.shape)).astype(np.float32)
        for name, array in spec.initialise(contract.pixels, len(contract.classes), rng).items()
    }
    parameters = spec.calibrate(parameters, [fitted.transform(images)])
    parameters = spec.zero_unlit(parameters, images.any(axis=0), fitted)
    return Bundle(contract, fitted, info.name, spec, parameters, views)


def ask(data: bytes | str, images: np.ndarray, block: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of images, by onnxruntime as anybody would use it, in blocks."""
    session = onnxruntime.InferenceSession(data)
    found = [
        session.run(None, {"images": images[start : start + block]})
        for start in range(0, max(1, len(images)), block)
    ]
    labels, probabilities = zip(*found, strict=True)
    return np.concatenate(labels), np.concatenate(probabilities)
