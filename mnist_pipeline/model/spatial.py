"""Layers over images: convolution, max pooling, batch normalization, each with its backward.

Arrays are (height, channels, width, rows): H, C, W, N. A shift by one pixel is an offset of N in a
line, and a window of k lines is a matrix as it lies in memory. So a convolution spreads its input
k-fold, not k²-fold as im2col does, and is one product a line. Everything else works along the last
axis, which is as long as the batch.

Backward passes: Goodfellow, Bengio, Courville, "Deep Learning" (2016), §9.5.
"""

from __future__ import annotations

import numpy as np

from mnist_pipeline.model.arrays import Array
from mnist_pipeline.model.layers import Backward

EPSILON = 1e-5
"""Batch normalization's ε: keeps a channel finite that is the same everywhere."""


def padded(height: int, channels: int, width: int, rows: int, padding: int, like: Array) -> Array:
    """Zeros (H + 2·padding, C, W + 2·padding, N) of the dtype of `like`."""
    shape = (height + 2 * padding, channels, width + 2 * padding, rows)
    return np.zeros(shape, like.dtype)


def interior(a: Array, padding: int) -> Array:
    """The view of an image without its border of `padding` pixels."""
    return a[padding:-padding, :, padding:-padding] if padding else a


def spread(a: Array, k: int) -> Array:
    """(H, k, C, n): each line k times, shifted by one pixel more each time, n = (W − k + 1)·N."""
    H, C, W, N = a.shape
    n = (W - k + 1) * N
    lines, shifted = a.reshape(H, C, W * N), np.empty((H, k, C, n), a.dtype)
    for dx in range(k):
        shifted[:, dx] = lines[:, :, dx * N : dx * N + n]
    return shifted


def correlate(shifted: Array, W: Array, rows: int) -> Array:
    """What networks call a convolution: z[y, d, x] = Σ W[d, c, dy, dx] · a[y + dy, c, x + dx].

    Args:
        shifted: (H, k, C, n), what `spread` made of the images a.
        W: (D, C, k, k).
        rows: N.

    Returns:
        (H − k + 1, D, W − k + 1, N).
    """
    H, k, C, n = shifted.shape
    D = len(W)
    K = np.ascontiguousarray(W.transpose(0, 2, 3, 1)).reshape(D, k * k * C)
    z = np.empty((H - k + 1, D, n // rows, rows), shifted.dtype)
    for y, line in enumerate(z.reshape(-1, D, n)):
        np.matmul(K, shifted[y : y + k].reshape(k * k * C, n), out=line)
    return z


def convolution(
    a: Array, W: Array, dW: Array, padding: int, *, first: bool = False
) -> tuple[Array, Backward]:
    """The convolution of padded images; it has no bias, since batch normalization follows.

    Args:
        a: (H, C, W, N), with their border.
        W: (D, C, k, k).
        dW: shaped like W; the backward pass writes ∂loss/∂W into it.
        padding: how wide the border is; it gets no gradient.
        first: nothing lies before this layer: ∂loss/∂a is left out, and the backward pass returns
            what it got.
    """
    H, C, width, N = a.shape
    D, _, k, _ = W.shape
    shifted = spread(a, k)
    z = correlate(shifted, W, N)

    def backward(dz: Array) -> Array:
        n = shifted.shape[3]
        dlines = dz.reshape(-1, D, n)
        dK, part = np.zeros((k * D, k * C), dz.dtype), np.empty((k * D, k * C), dz.dtype)
        to_lines = np.ascontiguousarray(W[:, :, ::-1].transpose(3, 1, 2, 0)).reshape(k * C, k * D)
        spread_gradient = np.empty((k, C, n), dz.dtype)
        da = np.zeros((H - 2 * padding, C, width, N), dz.dtype)
        lines = da.reshape(-1, C, width * N)
        for y in range(H):
            # Line y of a touches lines y − k + 1 … y of z, as far as they exist: dy counts down.
            first_line, last_line = max(0, y - k + 1), min(y + 1, len(dz))
            window = dlines[first_line:last_line].reshape(-1, n)
            inside = slice((first_line - y + k - 1) * D, (last_line - y + k - 1) * D)
            np.matmul(window, shifted[y].reshape(k * C, n).T, out=part[inside])
            dK[inside] += part[inside]
            if first or not padding <= y < H - padding:
                continue
            np.matmul(to_lines[:, inside], window, out=spread_gradient.reshape(k * C, n))
            for dx in range(k):
                lines[y - padding, :, dx * N : dx * N + n] += spread_gradient[dx]
        dW[...] = dK.reshape(k, D, k, C).transpose(1, 3, 0, 2)[:, :, ::-1]
        return dz if first else da[:, :, padding : width - padding]

    return z, backward


def max_pool(z: Array) -> tuple[Array, Backward]:
    """The largest of each 2×2 pixels; an odd last line or column is left out.

    The gradient goes to the largest, and to the first of several that are equally large.
    """
    H, W = z.shape[0] // 2 * 2, z.shape[2] // 2 * 2
    a, b = z[0:H:2, :, 0:W:2], z[0:H:2, :, 1:W:2]
    c, d = z[1:H:2, :, 0:W:2], z[1:H:2, :, 1:W:2]
    top, bottom = np.maximum(a, b), np.maximum(c, d)

    def backward(dm: Array) -> Array:
        dz = np.zeros_like(z) if (z.shape[0], z.shape[2]) != (H, W) else np.empty_like(z)
        upper = top >= bottom
        d_top = dm * upper
        dm -= d_top
        left = np.multiply(d_top, a >= b, out=dz[0:H:2, :, 0:W:2])
        np.subtract(d_top, left, out=dz[0:H:2, :, 1:W:2])
        left = np.multiply(dm, c >= d, out=dz[1:H:2, :, 0:W:2])
        np.subtract(dm, left, out=dz[1:H:2, :, 1:W:2])
        return dz

    return np.maximum(top, bottom), backward


def moments(z: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, (C,) each, over lines, columns and rows."""
    H, C, W, N = z.shape
    lines = z.reshape(H, C, W * N)
    count = H * W * N
    mean = lines.sum(axis=2).sum(axis=0, dtype=np.float64) / count
    square = np.vecdot(lines, lines).sum(axis=0, dtype=np.float64) / count
    return mean.astype(z.dtype), np.maximum(square - mean**2, 0).astype(z.dtype)


def batch_norm_relu(
    z: Array, gamma: Array, beta: Array, dgamma: Array, dbeta: Array, out: Array
) -> Backward:
    """A = max(γ·(z − μ)/√(σ² + ε) + β, 0) into `out`: Ioffe & Szegedy 2015, algorithm 1.

    Args:
        z: (H, C, W, N), overwritten by the backward pass.
        gamma: (C,).
        beta: (C,).
        dgamma: (C,); the backward pass writes ∂loss/∂γ into it.
        dbeta: (C,); likewise.
        out: (H, C, W, N), may be the inside of something larger.
    """
    mean, variance = moments(z)
    deviation = np.sqrt(variance + np.asarray(EPSILON, z.dtype))
    scale = gamma / deviation
    shift = beta - mean * scale
    scale_relu(z, scale, shift, out)

    def backward(da: Array) -> Array:
        # With x̂ = (z − μ)/σ: dz = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), and dy = da where a > 0.
        H, C, W, N = z.shape
        count = H * W * N
        sums, products = np.zeros(C), np.zeros(C)
        dy = np.empty_like(z)
        for y in range(H):
            np.multiply(da[y], out[y] > 0, out=dy[y])
            line = dy[y].reshape(C, W * N)
            sums += line.sum(axis=1)
            products += np.vecdot(line, z[y].reshape(C, W * N))
        dbeta[...] = sums
        dgamma[...] = (products - mean * sums) / deviation
        # γ/σ·dy − p·z + q, as few passes as there can be.
        p = scale * dgamma / deviation / count
        q = p * mean - scale * dbeta / count
        for y in range(H):
            dy[y] *= scale[:, None, None]
            z[y] *= p[:, None, None]
            dy[y] -= z[y]
            dy[y] += q[:, None, None]
        return dy

    return backward


def scale_relu(z: Array, scale: Array, shift: Array, out: Array) -> None:
    """max(scale·z + shift, 0) of each channel of (H, C, W, N), line by line: it stays in cache."""
    for source, target in zip(z, out, strict=True):
        np.multiply(source, scale[:, None, None], out=target)
        target += shift[:, None, None]
        np.maximum(target, 0, out=target)
