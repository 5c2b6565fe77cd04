"""The model seam: what a network has to say of itself to be trained, compiled and exported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.guard import BrokenPluginError, received
from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.arrays import Parameters as Parameters
from mnist_pipeline.model.graph import Value, not_exportable
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.predictor import Predictor as Predictor
from mnist_pipeline.model.predictor import Watched
from mnist_pipeline.plugins import PluginInfo

WORTH_SHARING = 512
"""Rows a batch from which a perceptron's step takes so long that a second thread pays."""


class Model(Protocol):
    """The model seam: a frozen dataclass of options, without weights; these are passed around.

    A plugin subclasses this and writes `initialise`, `loss_and_gradients` and `compile`; the rest
    has a default. It never sees files, optimizers or batches.
    """

    def initialise(self, pixels: int, classes: int, rng: np.random.Generator) -> Parameters:
        """Fresh parameters, named, in a fixed order. `l2` acts on those of 2 or more dimensions."""
        ...

    def loss_and_gradients(
        self,
        parameters: Parameters,
        x: Array,
        labels: NDArray[np.integer[Any]],
        gradients: Parameters,
        *,
        label_smoothing: float,
        rng: np.random.Generator,
    ) -> float:
        """The mean cross-entropy of a batch; ∂loss/∂parameters is written into `gradients`.

        Args:
            parameters: as `initialise` made them; to be read only.
            x: (B, pixels) normalized images, in the parameters' dtype. B varies.
            labels: (B,) integers in [0, classes).
            gradients: same names and shapes; every number is to be overwritten.
            label_smoothing: ε of the targets, see `layers.softmax_cross_entropy`.
            rng: for dropout and the like.
        """
        ...

    def compile(self, parameters: Parameters, normalizer: FittedNormalizer) -> Predictor:
        """Everything from pixels to probabilities in one callable, independent of `parameters`."""
        ...

    def to_onnx(
        self,
        parameters: Parameters,  # noqa: ARG002
        normalizer: FittedNormalizer,  # noqa: ARG002
        pixels: Value,  # noqa: ARG002
    ) -> Value:
        """What `compile` gives, as a graph: probabilities (N, classes) float32.

        Args:
            parameters: trained; to be read only.
            normalizer: its `to_onnx` makes the network's input of the pixels.
            pixels: (N, pixels) float32, the values 0 … 255.

        Raises:
            NotExportableError: nobody has written it down.
        """
        raise not_exportable("model", self)

    @property
    def member_kinds(self) -> tuple[str, ...]:
        """The resolved names of the models that it is made of, in order; none for a network."""
        return ()

    def lanes(self, batch_size: int) -> int:
        """How many shares a batch is cut into, so that two cores can work on it.

        It belongs to the arithmetic: the result depends on it, and not on who does the work.
        """
        return 2 if batch_size >= WORTH_SHARING else 1

    def calibrate(
        self,
        parameters: Parameters,
        blocks: Iterable[Array],  # noqa: ARG002
    ) -> Parameters:
        """Parameters with what has to be measured on training rows once the weights stand.

        Args:
            parameters: trained; to be read only.
            blocks: inputs of a sample of training rows, (b, pixels) each.
        """
        return parameters

    def products(
        self,
        pixels: int,  # noqa: ARG002
        parameters: Parameters,  # noqa: ARG002
    ) -> int | None:
        """Multiplications that an image costs in training; None where nobody has counted them."""
        return None

    def zero_unlit(
        self,
        parameters: Parameters,
        lit: NDArray[np.bool_],  # noqa: ARG002
        normalizer: FittedNormalizer,  # noqa: ARG002
    ) -> Parameters:
        """Parameters without the random start of weights that never learned.

        The weights of an input that was that of a blank image in every training row go to 0, so
        that a speck there cannot disturb a prediction; predictions for images dark there stay as
        they are.

        Args:
            parameters: trained; to be read only.
            lit: (pixels,), False where an input was always dark, see `Loader.lit`.
            normalizer: what the network was trained with.
        """
        return parameters

    def dead_units(self, parameters: Parameters, x: Array) -> float:  # noqa: ARG002
        """The share of hidden units, in the worst layer, that no row of x (B, pixels) activates."""
        return 0.0


@received("model", "compile")
def _watched(info: PluginInfo, predictor: Any, *given: object) -> Predictor:
    del given
    if not isinstance(predictor, Predictor):
        flaw = f"compile returns a {type(predictor).__name__} and no Predictor"
        raise BrokenPluginError.breach(info, flaw)
    return Watched(predictor, info)
