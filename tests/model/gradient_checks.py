"""What holds for every network: its gradients, and that chance comes from its generator."""

from __future__ import annotations

import numpy as np
from test_layers import numeric_gradient

from mnist_pipeline.model.arrays import Array, Parameters
from mnist_pipeline.model.networks import Model

CLASSES = 3


def _labels(x: Array) -> np.ndarray:
    return np.random.default_rng(3).integers(0, CLASSES, len(x))


def check_gradients(
    model: Model, parameters: Parameters, x: Array, smoothing: float, *, atol: float
) -> None:
    """Against finite differences, every number of them."""
    labels = _labels(x)
    gradients = {name: np.full_like(array, np.nan) for name, array in parameters.items()}
    scrap = {name: np.empty_like(array) for name, array in parameters.items()}

    def loss(changed: Parameters, into: Parameters) -> float:
        # The same generator each time: the same units are dropped.
        rng = np.random.default_rng(4)
        return model.loss_and_gradients(
            changed, x, labels, into, label_smoothing=smoothing, rng=rng
        )

    loss(parameters, gradients)
    for name in parameters:
        numeric = numeric_gradient(
            lambda a, name=name: loss({**parameters, name: a}, scrap), parameters[name]
        )
        np.testing.assert_allclose(gradients[name], numeric, atol=atol, err_msg=name)


def check_dropout(model: Model, parameters: Parameters, x: Array) -> None:
    """The generator decides what is silenced, and the loss shows it."""
    gradients = {name: np.empty_like(array) for name, array in parameters.items()}
    losses = [
        model.loss_and_gradients(
            parameters,
            x,
            _labels(x),
            gradients,
            label_smoothing=0.0,
            rng=np.random.default_rng(seed),
        )
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]
