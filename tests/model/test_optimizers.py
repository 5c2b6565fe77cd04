from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mnist_pipeline.model import optimizers
from mnist_pipeline.model.arrays import FlatArrays
from mnist_pipeline.model.optimizers import Optimizer, OptimizerName

SHAPES = {"W1": (7, 5), "b1": (7,), "W2": (3, 7), "b2": (3,)}


def arrays(seed: int, dtype: Any = np.float64) -> FlatArrays:
    rng = np.random.default_rng(seed)
    return FlatArrays.of({name: rng.normal(size=shape) for name, shape in SHAPES.items()}, dtype)


def run(
    name: OptimizerName, steps: int = 20, dtype: Any = np.float64, **options: Any
) -> FlatArrays:
    """Parameters after steps with gradients drawn from seeds 1, 2, …, learning rate 0.01."""
    parameters = arrays(0, dtype)
    gradients = parameters.zeros_like()
    optimizer = Optimizer(name, parameters, gradients, **options)
    for step in range(1, steps + 1):
        gradients.buffer[...] = arrays(step).buffer
        optimizer.update(0.01)
    return parameters


def test_flat_arrays_are_views_with_the_matrices_first() -> None:
    flat = arrays(0)
    assert list(flat.views) == list(SHAPES)
    assert flat.matrices == 7 * 5 + 3 * 7
    flat.buffer[: flat.matrices] = 1
    flat.buffer[flat.matrices :] = 2
    for name, view in flat.views.items():
        assert view.shape == SHAPES[name]
        assert np.all(view == (1 if name.startswith("W") else 2))


def test_sgd() -> None:
    expected = arrays(0).buffer - 0.01 * sum(arrays(step).buffer for step in range(1, 21))
    np.testing.assert_allclose(run("sgd").buffer, expected, rtol=1e-12)


def test_momentum() -> None:
    theta, m = arrays(0).buffer, 0.0
    for step in range(1, 21):
        m = 0.8 * m + arrays(step).buffer
        theta = theta - 0.01 * m
    np.testing.assert_allclose(run("momentum", momentum=0.8).buffer, theta, rtol=1e-12)


def adam_as_printed(l2: float = 0.0, decoupled: bool = False) -> np.ndarray:
    """Algorithm 1 of Kingma & Ba, letter by letter; with decay as Loshchilov & Hutter's alg. 2."""
    alpha, beta1, beta2, epsilon = 0.01, 0.9, 0.99, 1e-8
    theta = arrays(0).buffer
    decays = np.arange(theta.size) < arrays(0).matrices
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, 21):
        g = arrays(t).buffer + (0 if decoupled else l2) * decays * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        decay = alpha * (l2 if decoupled else 0) * decays * theta
        theta = theta - alpha * m_hat / (np.sqrt(v_hat) + epsilon) - decay
    return theta


def test_adam_is_the_printed_algorithm() -> None:
    np.testing.assert_allclose(run("adam", beta2=0.99).buffer, adam_as_printed(), rtol=1e-10)


def test_l2_is_added_to_the_gradient_of_matrices_only() -> None:
    expected = adam_as_printed(l2=0.3)
    np.testing.assert_allclose(run("adam", beta2=0.99, l2=0.3).buffer, expected, rtol=1e-10)


def test_adamw_decays_beside_the_gradient() -> None:
    expected = adam_as_printed(l2=0.3, decoupled=True)
    np.testing.assert_allclose(run("adamw", beta2=0.99, l2=0.3).buffer, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_chunks_do_not_change_a_bit(name: OptimizerName, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(name, dtype=np.float32, l2=0.1)
    monkeypatch.setattr(optimizers, "CHUNK", 13)
    np.testing.assert_array_equal(run(name, dtype=np.float32, l2=0.1).buffer, whole.buffer)


def test_adam_stays_put_where_the_gradient_was_always_zero() -> None:
    parameters = arrays(0, np.float32)
    before = parameters.buffer.copy()
    optimizer = Optimizer("adam", parameters, parameters.zeros_like())
    for _ in range(5):
        optimizer.update(0.1)
    np.testing.assert_array_equal(parameters.buffer, before)


def test_a_moment_whose_gradient_stopped_becomes_zero_and_never_denormal() -> None:
    parameters = arrays(0, np.float32)
    gradients = parameters.zeros_like()
    optimizer = Optimizer("adam", parameters, gradients)
    gradients.buffer[...] = 1
    smallest = float(np.finfo(np.float32).tiny)
    for _ in range(2000):
        optimizer.update(1e-3)
        gradients.buffer[...] = 0
        m = optimizer.moments[0]
        assert not np.any((m != 0) & (np.abs(m) < smallest))
    assert not optimizer.moments[0].any()


def test_the_first_adam_step_is_the_learning_rate_whatever_the_gradient() -> None:
    for size in (1e-6, 1.0, 1e6):
        parameters = arrays(0)
        before = parameters.buffer.copy()
        gradients = parameters.zeros_like()
        gradients.buffer[...] = size
        Optimizer("adam", parameters, gradients).update(0.01)
        moved = before - parameters.buffer
        assert math.isclose(moved.min(), 0.01, rel_tol=0.02)
        assert math.isclose(moved.max(), 0.01, rel_tol=0.02)
