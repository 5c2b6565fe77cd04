"""Layers over images: convolution, max pooling, batch normalization, each with its backward.

Arrays are (height, channels, width, rows): H, C, W, N. A window of k whole lines of the image is
then one matrix of k·C lines as it lies in memory, and a shift by one pixel is an offset of N in
each of them: a convolution is k products a line, and nothing is copied (no im2col). Everything else
works along the last axis, which is as long as the batch.

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


def correlate(a: Array, K: Array) -> Array:
    """What networks call a convolution: z[y, d, x] = Σ W[d, c, dy, dx] · a[y + dy, c, x + dx].

    Args:
        a: (H, C, W, N).
        K: (k, D, k·C), the kernels as `by_column` lays them out.

    Returns:
        (H − k + 1, D, W − k + 1, N).
    """
    H, C, W, N = a.shape
    k, D, _ = K.shape
    z = np.empty((H - k + 1, D, W - k + 1, N), a.dtype)
    n = z.shape[2] * N
    part = np.empty((D, n), a.dtype)
    for y, line in enumerate(z.reshape(-1, D, n)):
        window = a[y : y + k].reshape(k * C, W * N)
        np.matmul(K[0], window[:, :n], out=line)
        for dx in range(1, k):
            np.matmul(K[dx], window[:, dx * N : dx * N + n], out=part)
            line += part
    return z


def by_column(W: Array) -> Array:
    """Kernels (D, C, k, k) as k matrices (k, D, k·C), one for each column of a window."""
    D, C, k, _ = W.shape
    return np.ascontiguousarray(W.transpose(3, 0, 2, 1)).reshape(k, D, k * C)


def convolution(a: Array, W: Array, dW: Array, *, first: bool = False) -> tuple[Array, Backward]:
    """The convolution of padded images; it has no bias, since batch normalization follows.

    Args:
        a: (H, C, W, N).
        W: (D, C, k, k).
        dW: shaped like W; the backward pass writes ∂loss/∂W into it.
        first: nothing lies before this layer: ∂loss/∂a is left out, and the backward pass returns
            what it got.
    """
    D, C, k, _ = W.shape
    K = by_column(W)

    def backward(dz: Array) -> Array:
        width, N = a.shape[2:]
        n = dz.shape[2] * N
        dK, part = np.zeros_like(K), np.empty(K.shape[1:], K.dtype)
        for y, line in enumerate(dz.reshape(-1, D, n)):
            window = a[y : y + k].reshape(k * C, width * N)
            for dx in range(k):
                np.matmul(line, window[:, dx * N : dx * N + n].T, out=part)
                dK[dx] += part
        dW[...] = dK.reshape(k, D, k, C).transpose(1, 3, 2, 0)
        if first:
            return dz
        da = np.zeros_like(a)
        to_window, part = K.transpose(0, 2, 1), np.empty((k * C, n), a.dtype)
        for y, line in enumerate(dz.reshape(-1, D, n)):
            window = da[y : y + k].reshape(k * C, width * N)
            for dx in range(k):
                np.matmul(to_window[dx], line, out=part)
                window[:, dx * N : dx * N + n] += part
        return da

    return correlate(a, K), backward


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
