"""Layers over images against loops that say the same, and against finite differences in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from test_layers import numeric_gradient

from mnist_pipeline.model import spatial

Array = NDArray[np.float64]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def correlated(a: Array, W: Array) -> Array:
    """z[y, d, x] = Σ W[d, c, dy, dx] · a[y + dy, c, x + dx], number by number."""
    H, C, width, N = a.shape
    D, _, k, _ = W.shape
    z = np.zeros((H - k + 1, D, width - k + 1, N))
    for y, d, x in np.ndindex(z.shape[:3]):
        for c, dy, dx in np.ndindex(C, k, k):
            z[y, d, x] += W[d, c, dy, dx] * a[y + dy, c, x + dx]
    return z


SHAPES = [  # H, C, W, N, D, k
    (5, 2, 6, 3, 4, 3),
    (6, 1, 5, 2, 3, 2),
    (4, 3, 4, 5, 2, 1),
    (5, 2, 5, 3, 4, 5),  # fully connected: one place
    (7, 1, 8, 1, 1, 3),
]


# --- convolution ---


@pytest.mark.parametrize(("H", "C", "width", "N", "D", "k"), SHAPES)
def test_correlate_is_its_formula(
    rng: np.random.Generator, H: int, C: int, width: int, N: int, D: int, k: int
) -> None:
    a, W = rng.normal(size=(H, C, width, N)), rng.normal(size=(D, C, k, k))
    z = spatial.correlate(spatial.spread(a, k), W, N)
    np.testing.assert_allclose(z, correlated(a, W), atol=1e-12)
    shifted = spatial.spread(a.astype(np.float32), k)
    single = spatial.correlate(shifted, W.astype(np.float32), N)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, z, atol=1e-4)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("H", "C", "width", "N", "D", "k"), SHAPES)
def test_gradients_of_the_convolution(
    rng: np.random.Generator, H: int, C: int, width: int, N: int, D: int, k: int, padding: int
) -> None:
    a, W = rng.normal(size=(H, C, width, N)), rng.normal(size=(D, C, k, k))
    dW = np.full_like(W, np.nan)
    z, backward = spatial.convolution(a, W, dW, padding)
    upstream = rng.normal(size=z.shape)
    da = backward(upstream.copy())

    def objective(a: Array, W: Array) -> float:
        return float(np.sum(upstream * spatial.convolution(a, W, np.empty_like(W), padding)[0]))

    numeric = numeric_gradient(lambda a: objective(a, W), a)
    np.testing.assert_allclose(da, spatial.interior(numeric, padding), atol=1e-7)
    np.testing.assert_allclose(dW, numeric_gradient(lambda W: objective(a, W), W), atol=1e-7)

    first = np.full_like(W, np.nan)
    spatial.convolution(a, W, first, padding, first=True)[1](upstream.copy())
    np.testing.assert_array_equal(first, dW)


def test_a_convolution_takes_the_gradient_of_an_interior(rng: np.random.Generator) -> None:
    """What comes back through a border is a view with gaps, not an array of its own."""
    a, W = rng.normal(size=(5, 2, 5, 3)), rng.normal(size=(4, 2, 3, 3))
    wide = rng.normal(size=(5, 4, 5, 3))
    inside = spatial.interior(wide, 1)
    one, two = np.empty_like(W), np.empty_like(W)
    da = spatial.convolution(a, W, one, 1)[1](inside)
    expected = spatial.convolution(a, W, two, 1)[1](inside.copy())
    np.testing.assert_array_equal(da, expected)
    np.testing.assert_array_equal(one, two)


def test_padding_and_the_interior(rng: np.random.Generator) -> None:
    like = np.zeros(1, np.float32)
    for padding in (0, 1, 2):
        a = spatial.padded(3, 2, 4, 5, padding, like)
        assert a.shape == (3 + 2 * padding, 2, 4 + 2 * padding, 5)
        assert a.dtype == np.float32
        spatial.interior(a, padding)[...] = 1
        assert a.sum() == 3 * 2 * 4 * 5
        assert spatial.interior(a, padding).shape == (3, 2, 4, 5)


# --- pooling ---


def pooled(z: Array) -> Array:
    """The largest of each 2×2 pixels, window by window."""
    H, C, W, N = z.shape
    m = np.empty((H // 2, C, W // 2, N))
    for y, x in np.ndindex(H // 2, W // 2):
        m[y, :, x] = z[2 * y : 2 * y + 2, :, 2 * x : 2 * x + 2].max(axis=(0, 2))
    return m


@pytest.mark.parametrize(("H", "W"), [(4, 6), (5, 4), (4, 5), (7, 3), (2, 2), (3, 3)])
def test_max_pool_and_its_gradient(rng: np.random.Generator, H: int, W: int) -> None:
    z = rng.normal(size=(H, 2, W, 3))
    m, backward = spatial.max_pool(z)
    np.testing.assert_array_equal(m, pooled(z))
    upstream = rng.normal(size=m.shape)
    expected = numeric_gradient(lambda z: float(np.sum(upstream * spatial.max_pool(z)[0])), z)
    np.testing.assert_allclose(backward(upstream.copy()), expected, atol=1e-8)


@pytest.mark.parametrize("values", itertools.product([0.0, 1.0], repeat=4), ids=str)
def test_of_several_equally_large_the_first_gets_the_gradient(values: tuple[float, ...]) -> None:
    z = np.array(values).reshape(2, 1, 2, 1)
    m, backward = spatial.max_pool(z)
    expected = np.zeros(4)
    expected[int(np.argmax(values))] = 3.0
    np.testing.assert_array_equal(backward(np.full_like(m, 3.0)).ravel(), expected)


# --- batch normalization ---


def test_moments_are_those_of_each_channel(rng: np.random.Generator) -> None:
    z = rng.normal(2, 3, (5, 4, 6, 7))
    mean, variance = spatial.moments(z)
    np.testing.assert_allclose(mean, z.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(variance, z.var(axis=(0, 2, 3)), rtol=1e-12)
    single = spatial.moments(z.astype(np.float32))
    assert single[0].dtype == single[1].dtype == np.float32
    np.testing.assert_allclose(single[0], mean, rtol=1e-5)
    np.testing.assert_allclose(single[1], variance, rtol=1e-5)


def test_moments_of_a_constant_channel_are_never_negative() -> None:
    for value in (0.0, 0.1, 1 / 3, 77.7, -1e3):
        _, variance = spatial.moments(np.full((9, 2, 9, 33), value, np.float32))
        assert (variance >= 0).all()
        assert variance.max() <= 1e-5 * max(1, value**2)


def normalized(z: Array, gamma: Array, beta: Array) -> Array:
    """max(γ·(z − μ)/√(σ² + ε) + β, 0), as it is written."""
    axes = (0, 2, 3)
    deviation = np.sqrt(z.var(axis=axes, keepdims=True) + spatial.EPSILON)
    x = (z - z.mean(axis=axes, keepdims=True)) / deviation
    shape = (1, -1, 1, 1)
    return np.maximum(gamma.reshape(shape) * x + beta.reshape(shape), 0)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (1, 3, 1, 6), (2, 2, 2, 1)], ids=str)
def test_batch_normalization_and_its_gradients(
    rng: np.random.Generator, shape: tuple[int, int, int, int], padding: int
) -> None:
    H, C, W, N = shape
    z = rng.normal(1, 2, shape)
    gamma, beta = rng.normal(1, 0.5, C), rng.normal(0, 0.5, C)
    gamma[0] *= -1
    dgamma, dbeta = np.full(C, np.nan), np.full(C, np.nan)
    a = spatial.padded(H, C, W, N, padding, like=z)
    out = spatial.interior(a, padding)
    scratch = z.copy()
    backward = spatial.batch_norm_relu(scratch, gamma, beta, dgamma, dbeta, out)
    np.testing.assert_allclose(out, normalized(z, gamma, beta), atol=1e-12)
    assert a.sum() == pytest.approx(out.sum())  # the border stays zero

    upstream = rng.normal(size=a.shape)  # of the border, too: it goes nowhere
    inside = spatial.interior(upstream, padding)

    def objective(z: Array, gamma: Array, beta: Array) -> float:
        return float(np.sum(inside * normalized(z, gamma, beta)))

    expected = numeric_gradient(lambda z: objective(z, gamma, beta), z)
    np.testing.assert_allclose(backward(inside), expected, atol=1e-7)
    of_gamma = numeric_gradient(lambda gamma: objective(z, gamma, beta), gamma)
    of_beta = numeric_gradient(lambda beta: objective(z, gamma, beta), beta)
    np.testing.assert_allclose(dgamma, of_gamma, atol=1e-7)
    np.testing.assert_allclose(dbeta, of_beta, atol=1e-7)


def test_scale_relu(rng: np.random.Generator) -> None:
    z, scale, shift = rng.normal(size=(3, 2, 4, 5)), rng.normal(size=2), rng.normal(size=2)
    out = np.empty_like(z)
    spatial.scale_relu(z, scale, shift, out)
    expected = np.maximum(z * scale[:, None, None] + shift[:, None, None], 0)
    np.testing.assert_allclose(out, expected, atol=1e-15)
