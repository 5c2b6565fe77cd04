"""The bundle: contract, normalizer and network together, the one road to a prediction."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.model.graph import Value
from mnist_pipeline.model.networks import Model, Parameters, Predictor
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import VIEWS, Shifted, moved


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Answers for N images.

    Attributes:
        labels: (N,) uint8, the index of the most probable class.
        confidences: (N,) float32, its probability.
        probabilities: (N, C) float32.
    """

    labels: NDArray[np.uint8]
    confidences: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A model that can be used: nothing else is needed for a prediction.

    Attributes:
        contract: what its images must be.
        normalizer: fitted on its training rows.
        model: the resolved name of its plugin, e.g. `mlp.v1`.
        spec: the plugin with its options.
        parameters: the weights, not yet folded with the normalizer.
        views: how often it looks at an image before it answers, one of `VIEWS`.

    Raises:
        ValueError: nobody knows so many views.
    """

    contract: ImageContract
    normalizer: FittedNormalizer
    model: str
    spec: Model
    parameters: Parameters
    views: int = 1

    def __post_init__(self) -> None:
        if self.views not in VIEWS:
            raise ValueError(f"views is one of {VIEWS}, not {self.views}")

    @functools.cached_property
    def predictor(self) -> Predictor:
        """Images (N, pixels) uint8 to probabilities (N, C) float32, normalizer folded in."""
        predictor = self.spec.compile(self.parameters, self.normalizer)
        if self.views == 1:
            return predictor
        return Shifted(predictor, self.views, (self.contract.height, self.contract.width))

    def to_onnx(self, images: Value) -> Value:
        """What `predictor` computes, in a graph: images (N, pixels) uint8 to (N, C) float32.

        Raises:
            NotExportableError: its normalizer or its network cannot be written down.
        """
        shape = (self.contract.height, self.contract.width)
        looks = images if self.views == 1 else moved(images, self.views, shape)
        answers = self.spec.to_onnx(self.parameters, self.normalizer, looks.cast(np.float32))
        if self.views == 1:
            return answers
        answers = answers.reshape(self.views, -1, len(self.contract.classes))
        return answers.apply("ReduceMean", axes=(0,), keepdims=0)

    def predict(self, images: ArrayLike) -> Prediction:
        """The answers for (N, pixels) or (N, height, width) uint8 images.

        Raises:
            DataError: the images have another shape or type.
        """
        images = np.asarray(images)
        shape = (self.contract.height, self.contract.width)
        if images.ndim == 3 and images.shape[1:] == shape:
            images = images.reshape(len(images), self.contract.pixels)
        probabilities = self.predictor(images)
        labels = probabilities.argmax(axis=1).astype(np.uint8)
        confidences = probabilities[np.arange(len(labels)), labels]
        return Prediction(labels, confidences, probabilities)

    def __repr__(self) -> str:
        weights = sum(array.size for array in self.parameters.values())
        return f"Bundle({self.model}, {self.normalizer.name}, {weights:,} parameters)"

    def model_json(self) -> dict[str, Any]:
        """What `model.json` holds: which network, with which options, for which classes."""
        return {
            "format": 1,
            "model": self.model,
            "spec": dataclasses.asdict(self.spec),  # type: ignore[call-overload]
            "members": list(self.spec.member_kinds),
            "prediction": prediction_json(self.views),
            "classes": list(self.contract.classes),
        }


def prediction_json(views: int) -> dict[str, Any]:
    """The key `prediction` of `model.json`: what is asked of the network beside its answer."""
    return {} if views == 1 else {"views": views}
