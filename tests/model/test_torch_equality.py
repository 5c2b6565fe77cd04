"""Forward passes, gradients and optimizer steps are PyTorch's.

PyTorch is no dependency of this project; where it is missing this file is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_pipeline.model.arrays import FlatArrays, Parameters
from mnist_pipeline.model.cnn import Cnn
from mnist_pipeline.model.networks import Model
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.optimizers import Optimizer
from mnist_pipeline.model.perceptrons import Mlp, Softmax

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

pytestmark = pytest.mark.integration

PIXELS, CLASSES, ROWS = 144, 10, 32
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-11}  # relative to the largest number of an array

Network = Callable[[dict[str, Any], Any], Any]


def of_mlp(tensors: dict[str, Any], x: Any) -> Any:
    """Logits (N, C) of inputs (N, pixels)."""
    depth = len(tensors) // 2
    for i in range(1, depth + 1):
        x = torch.nn.functional.linear(x, tensors[f"W{i}"], tensors[f"b{i}"])
        x = torch.relu(x) if i < depth else x
    return x


def of_cnn(model: Cnn) -> Network:
    """The same for images: convolution, pooling, batch normalization, rectifier."""
    layers = [
        (model.padding, number == len(stage))
        for stage in model.stages
        for number, _ in enumerate(stage, start=1)
    ]
    layers += [(0, False)] * len(model.hidden)

    def network(tensors: dict[str, Any], x: Any) -> Any:
        side = round(x.shape[1] ** 0.5)
        x = x.reshape(-1, 1, side, side)
        for n, (padding, pool) in enumerate(layers, start=1):
            x = torch.nn.functional.conv2d(x, tensors[f"K{n}"], padding=padding)
            x = torch.nn.functional.max_pool2d(x, 2) if pool else x
            x = torch.nn.functional.batch_norm(
                x, None, None, tensors[f"gamma{n}"], tensors[f"beta{n}"], training=True, eps=1e-5
            )
            x = torch.relu(x)
        x = torch.nn.functional.conv2d(x, tensors[f"K{len(layers) + 1}"])
        return x.flatten(1) + tensors["b"]

    return network


SMALL, DEEP = Cnn(stages=((4,), (5, 6))), Cnn(stages=((4,), (6,)), kernel=5, padding=2, hidden=(8,))
MODELS: list[tuple[Model, Network]] = [
    (Softmax(), of_mlp),
    (Mlp((20,)), of_mlp),
    (Mlp((24, 16)), of_mlp),
    (SMALL, of_cnn(SMALL)),
    (DEEP, of_cnn(DEEP)),
]


def start(model: Model, dtype: Any) -> FlatArrays:
    """The model's start, and a little beside it, so that no number is 0 or 1."""
    noise = np.random.default_rng(1)
    arrays = model.initialise(PIXELS, CLASSES, np.random.default_rng(0))
    flat = FlatArrays.of(arrays, dtype)
    flat.buffer += (0.05 * noise.standard_normal(flat.buffer.size)).astype(dtype)
    return flat


def batch(seed: int, dtype: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, PIXELS)).astype(dtype), rng.integers(0, CLASSES, ROWS)


def tensors_of(arrays: Parameters) -> dict[str, Any]:
    return {
        name: torch.tensor(np.array(array), requires_grad=True) for name, array in arrays.items()
    }


def assert_near(found: NDArray[Any], tensor: Any, tolerance: float, what: str) -> None:
    expected = tensor.detach().numpy()
    assert found.dtype == expected.dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def step_of(
    model: Model, parameters: FlatArrays, seed: int, gradients: FlatArrays, smoothing: float
) -> float:
    x, labels = batch(seed, parameters.buffer.dtype)
    return model.loss_and_gradients(
        parameters.views,
        x,
        labels,
        gradients.views,
        label_smoothing=smoothing,
        rng=np.random.default_rng(0),
    )


def torch_loss(
    network: Network, tensors: dict[str, Any], seed: int, dtype: Any, smoothing: float
) -> Any:
    x, labels = batch(seed, dtype)
    logits = network(tensors, torch.tensor(x))
    return torch.nn.functional.cross_entropy(
        logits, torch.tensor(labels), label_smoothing=smoothing
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("model", "network"), MODELS, ids=[str(model) for model, _ in MODELS])
def test_loss_and_gradients(model: Model, network: Network, smoothing: float, dtype: Any) -> None:
    parameters = start(model, dtype)
    gradients, tensors = parameters.zeros_like(), tensors_of(parameters.views)
    loss = step_of(model, parameters, 5, gradients, smoothing)
    expected = torch_loss(network, tensors, 5, dtype, smoothing)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=TOLERANCE[dtype])
    for name, tensor in tensors.items():
        assert_near(gradients.views[name], tensor.grad, TOLERANCE[dtype], name)


RATE, L2 = 0.01, 0.1
OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "sgd": ({}, lambda groups: torch.optim.SGD(groups, lr=RATE)),
    "momentum": (
        {"momentum": 0.8},
        lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=0.8),
    ),
    "adam": (
        {"beta1": 0.8, "beta2": 0.99},
        lambda groups: torch.optim.Adam(groups, lr=RATE, betas=(0.8, 0.99)),
    ),
    "adamw": ({}, lambda groups: torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999))),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("l2", [0.0, L2])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("model", "network"), [MODELS[2], MODELS[4]], ids=[str(MODELS[2][0]), str(MODELS[4][0])]
)
def test_five_steps(model: Model, network: Network, name: Any, l2: float, dtype: Any) -> None:
    options, make = OPTIMIZERS[name]
    parameters = start(model, dtype)
    gradients, tensors = parameters.zeros_like(), tensors_of(parameters.views)
    optimizer = Optimizer(name, parameters, gradients, l2=l2, **options)
    groups = [  # weight decay is for matrices
        {"params": [t for t in tensors.values() if t.ndim >= 2], "weight_decay": l2},
        {"params": [t for t in tensors.values() if t.ndim < 2], "weight_decay": 0.0},
    ]
    theirs = make(groups)
    before = parameters.buffer.copy()
    for step in range(5):
        loss = step_of(model, parameters, step, gradients, 0.05)
        optimizer.update(RATE)
        theirs.zero_grad()
        expected = torch_loss(network, tensors, step, dtype, 0.05)
        expected.backward()
        theirs.step()
        assert loss == pytest.approx(expected.item(), rel=TOLERANCE[dtype])
    assert np.abs(parameters.buffer - before).max() > RATE / 2
    for key, tensor in tensors.items():
        assert_near(parameters.views[key], tensor, TOLERANCE[dtype], key)


def test_predictions_with_the_moments_of_training() -> None:
    images = np.random.default_rng(3).integers(0, 256, (64, PIXELS), dtype=np.uint8)
    normalizer = FittedNormalizer.fit("standardize", {}, [images])
    parameters = start(DEEP, np.float32)
    x = normalizer.transform(images)
    calibrated = DEEP.calibrate(parameters.views, [x])
    found = DEEP.compile(calibrated, normalizer)(images)
    expected = torch.softmax(of_cnn(DEEP)(tensors_of(parameters.views), torch.tensor(x)), dim=1)
    assert_near(found, expected, 1e-5, "probabilities")
