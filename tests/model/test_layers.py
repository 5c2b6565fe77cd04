"""Every backward against central finite differences of its own forward, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_pipeline.model import layers

Array = NDArray[np.float64]


def numeric_gradient(f: Callable[[Array], float], x: Array, h: float = 1e-6) -> Array:
    """∂f/∂x by (f(x + h) − f(x − h)) / 2h, one number at a time."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (f(up) - f(down)) / (2 * h)
    return gradient


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_linear(rng: np.random.Generator) -> None:
    x, W, b = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    upstream = rng.normal(size=(5, 3))
    dW, db = np.full_like(W, np.nan), np.full_like(b, np.nan)
    z, backward = layers.linear(x, W, b, dW, db)
    np.testing.assert_allclose(z, np.einsum("bi,oi->bo", x, W) + b)
    dx = backward(upstream.copy())

    def objective(x: Array, W: Array, b: Array) -> float:
        return float(np.sum(upstream * layers.linear(x, W, b, dW, db)[0]))

    np.testing.assert_allclose(dx, numeric_gradient(lambda x: objective(x, W, b), x), atol=1e-8)
    np.testing.assert_allclose(dW, numeric_gradient(lambda W: objective(x, W, b), W), atol=1e-8)
    np.testing.assert_allclose(db, numeric_gradient(lambda b: objective(x, W, b), b), atol=1e-8)


def test_the_first_linear_layer_gives_the_same_weights_gradient(rng: np.random.Generator) -> None:
    x, W, b = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    dz = rng.normal(size=(5, 3))
    whole, first = (np.empty_like(W), np.empty_like(b)), (np.empty_like(W), np.empty_like(b))
    layers.linear(x, W, b, *whole)[1](dz)
    layers.linear(x, W, b, *first, first=True)[1](dz)
    np.testing.assert_array_equal(whole[0], first[0])
    np.testing.assert_array_equal(whole[1], first[1])


def test_relu(rng: np.random.Generator) -> None:
    z, upstream = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))
    a, backward = layers.relu(z.copy())
    np.testing.assert_array_equal(a, np.where(z > 0, z, 0))
    expected = numeric_gradient(lambda z: float(np.sum(upstream * layers.relu(z)[0])), z)
    np.testing.assert_allclose(backward(upstream.copy()), expected, atol=1e-8)


def test_relu_passes_no_gradient_at_exactly_zero() -> None:
    _, backward = layers.relu(np.zeros((1, 3)))
    np.testing.assert_array_equal(backward(np.ones((1, 3))), 0)


def test_dropout_with_a_fixed_mask(rng: np.random.Generator) -> None:
    a, upstream = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))

    def objective(a: Array) -> float:
        out, _ = layers.dropout(a.copy(), 0.4, np.random.default_rng(3))
        return float(np.sum(upstream * out))

    _, backward = layers.dropout(a.copy(), 0.4, np.random.default_rng(3))
    np.testing.assert_allclose(backward(upstream.copy()), numeric_gradient(objective, a), atol=1e-8)


def test_dropout_silences_its_share_and_keeps_the_expectation(rng: np.random.Generator) -> None:
    out, _ = layers.dropout(np.ones((500, 200), np.float32), 0.3, rng)
    assert out.dtype == np.float32
    assert np.mean(out == 0) == pytest.approx(0.3, abs=0.01)
    assert out.mean() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.7], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_cross_entropy(rng: np.random.Generator, smoothing: float) -> None:
    logits, labels = 3 * rng.normal(size=(7, 5)), rng.integers(0, 5, 7)
    loss, backward = layers.softmax_cross_entropy(logits.copy(), labels, smoothing)

    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    t = (1 - smoothing) * np.eye(5)[labels] + smoothing / 5
    assert loss == pytest.approx(-np.mean(np.sum(t * np.log(p), axis=1)), rel=1e-12)

    def objective(logits: Array) -> float:
        return layers.softmax_cross_entropy(logits, labels, smoothing)[0]

    gradient = backward()
    np.testing.assert_allclose(gradient, (p - t) / 7, atol=1e-12)
    np.testing.assert_allclose(gradient, numeric_gradient(objective, logits), atol=1e-8)


def test_softmax_cross_entropy_leaves_the_logits_alone(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(3, 4))
    before = logits.copy()
    layers.softmax_cross_entropy(logits, np.array([0, 1, 2]))[1]()
    np.testing.assert_array_equal(logits, before)


def test_huge_logits_neither_overflow_nor_lose_their_gradient() -> None:
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    loss, backward = layers.softmax_cross_entropy(logits, np.array([1, 1]))
    assert loss == pytest.approx(5e3)
    np.testing.assert_allclose(backward(), [[0.5, -0.5], [0, 0]])


def test_softmax_sums_to_one_for_each_column(rng: np.random.Generator) -> None:
    z = rng.normal(size=(4, 9))
    expected = np.exp(z) / np.exp(z).sum(axis=0)
    np.testing.assert_allclose(layers.softmax(z.copy()), expected, rtol=1e-12)
