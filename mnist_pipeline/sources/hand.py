"""A hand that writes digits: points along strokes, disturbed as hands disturb them, and their ink.

A digit is a way of writing from `strokes.py`, disturbed (noise along the stroke, warp, waist,
aspect, slant, rotation), normalised as MNIST was (fitted into 20 × 20 pixels, centre of mass in the
middle of 28 × 28; http://yann.lecun.com/exdb/mnist) and drawn with a pen of some width.
Shapes: N digits, P points a digit, K control points.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.sources.curves import Curves, curves

SIDE = 28
BOX = 20.0
MIDDLE = 14.0

DRAWN_BLOCK = 32
"""Digits drawn at once: what they need stays in the CPU's cache."""

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Hand:
    """How far hands differ. Lengths are in digit heights; (mean, deviation) where there are two.

    Attributes:
        wobble: deviation of control points.
        roundness: range between the straight lines (0) through control points and the curve (1).
        trim: deviation of what is missing at either end, as a share of all strokes.
        warp: deviation of the amplitude of a wave across the digit.
        lobe: deviation of how much further the lower half is stretched than the upper.
        trapezoid, waist: deviations of log width, from top to bottom and from ends to middle.
        aspect: log width. slant: shear to the right. rotation: deviation in radians.
        half_width: of the pen, pixels (median) and deviation of its logarithm.
        widths: log width of the ten digits, beside what their ways say and `aspect`.
        pens: by how much the pen of each of the ten digits is wider, as a factor. A 1 is narrow and
            an 8 is dense: scaled to one height, their strokes end up thicker and thinner.
    """

    wobble: float = 0.06
    roundness: tuple[float, float] = (0.4, 1.15)
    trim: float = 0.03
    warp: float = 0.05
    lobe: float = 0.25
    trapezoid: float = 0.3
    waist: float = 0.25
    aspect: tuple[float, float] = (0.08, 0.17)
    slant: tuple[float, float] = (0.15, 0.25)
    rotation: float = 0.09
    half_width: tuple[float, float] = (1.2, 0.3)
    widths: tuple[float, ...] = (0, 0, 0, 0, -0.1, 0, -0.09, 0, -0.09, -0.12)
    pens: tuple[float, ...] = (1.15, 1.13, 1.04, 1, 0.98, 0.95, 0.98, 1.05, 0.93, 0.91)


HAND = Hand()


def draw_digits(
    labels: NDArray[np.integer[Any]],
    rng: np.random.Generator,
    hand: Hand = HAND,
    strokes: Curves | None = None,
) -> NDArray[np.uint8]:
    """Draw one handwritten digit for each label.

    Args:
        labels: (N,) integers from 0 to 9.
        rng: where all randomness comes from.
        hand: how far the digits differ from each other.
        strokes: the ways to write them; those of `WAYS` if left out.

    Returns:
        (N, 784) uint8, row-major, 0 = background.

    Raises:
        ValueError: a label is not a digit.
    """
    strokes = strokes or curves()
    digits = np.asarray(labels, dtype=np.int64)
    if len(digits) and not (digits.min() >= 0 and digits.max() <= 9):
        raise ValueError("only the digits 0 to 9 can be drawn")
    images = np.empty((len(digits), SIDE * SIDE), dtype=np.uint8)
    for start in range(0, len(digits), DRAWN_BLOCK):
        block = digits[start : start + DRAWN_BLOCK]
        points, down = _write(block, rng, hand, strokes)
        half_width = _half_width(block, rng, hand)
        placed, length = _place(points, down, half_width)
        images[start : start + len(block)] = _ink(placed, length, half_width)
    return images


def _write(
    labels: NDArray[np.int64], rng: np.random.Generator, hand: Hand, strokes: Curves
) -> tuple[Floats, Floats]:
    """What a hand writes: points (N, P, 2) in digit heights, and where the pen is down (N, P-1)."""
    n = len(labels)
    way = strokes.choose(labels, rng.random(n, dtype=np.float32))
    control = strokes.control[way]

    def normal(mean: float, deviation: float, *shape: int) -> Floats:
        drawn = rng.standard_normal((n, *(shape or (1,))), dtype=np.float32)
        return np.float32(mean) + np.float32(deviation) * drawn

    def uniform(low: float, high: float) -> Floats:
        return np.float32(low) + np.float32(high - low) * rng.random((n, 1), dtype=np.float32)

    # Neighbouring control points err alike: white noise, smoothed (0.76² + 2 · 0.46² = 1).
    white = normal(0.0, hand.wobble, control.shape[1] + 2, 2)
    control = control + 0.76 * white[:, 1:-1] + 0.46 * (white[:, :-2] + white[:, 2:])
    curve, chord = strokes.curve[way] @ control, strokes.chord[way] @ control
    points = chord + uniform(*hand.roundness)[:, :, None] * (curve - chord)

    # Strokes begin late and end early: the missing points move to the end, and have no ink there.
    p = points.shape[1]
    first = np.maximum(0.0, normal(0.0, hand.trim)) * (p - 1)
    last = (1.0 - np.maximum(0.0, normal(0.0, hand.trim))) * (p - 1)
    kept = np.clip(np.arange(p), first, last).astype(np.int64)
    points = np.take_along_axis(points, kept[:, :, None], axis=1)

    points = points - points.mean(axis=1, keepdims=True)
    x, y = points[:, :, 0], points[:, :, 1]
    x, y = (
        x + normal(0.0, hand.warp) * np.sin(1.5 * math.pi * y + uniform(0.0, 2.0 * math.pi)),
        y + normal(0.0, hand.warp) * np.sin(1.5 * math.pi * x + uniform(0.0, 2.0 * math.pi)),
    )
    y = y + normal(0.0, hand.lobe) * (y * y - 0.15)
    width = normal(0.0, hand.trapezoid) * y + normal(0.0, hand.waist) * (y * y - 0.1)
    x = x * np.exp(normal(*hand.aspect) + width + _of_digit(hand.widths, labels)[:, None])
    x = x - normal(*hand.slant) * y
    angle = normal(0.0, hand.rotation)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=2), strokes.down[way]


def _half_width(labels: NDArray[np.int64], rng: np.random.Generator, hand: Hand) -> Floats:
    """Half the width (N,) of each digit's pen in pixels: log-normal."""
    median, deviation = hand.half_width
    normal = rng.standard_normal(len(labels), dtype=np.float32)
    drawn: Floats = median * np.exp(deviation * normal) * _of_digit(hand.pens, labels)
    return drawn.clip(0.6, 3.5)


def _of_digit(values: tuple[float, ...], labels: NDArray[np.int64]) -> Floats:
    return np.array(values, dtype=np.float32)[labels]


def _place(points: Floats, down: Floats, half_width: Floats) -> tuple[Floats, Floats]:
    """MNIST's normalisation: points (N, P, 2) in pixels, and the stroke length at each (N, P).

    The ink's longer side fills 20 pixels, from edge to edge of the grid; then the centre of mass
    moves to (14, 14) by whole pixels.
    """
    low = points.min(axis=1)
    size = (points.max(axis=1) - low).max(axis=1)
    scale = (BOX - 2.0 * half_width) / np.maximum(size, 1e-3)
    placed = (points - low[:, None, :]) * scale[:, None, None] + (half_width - 0.5)[:, None, None]
    step = np.diff(placed, axis=1)
    drawn = np.sqrt(step[:, :, 0] ** 2 + step[:, :, 1] ** 2) * down
    length = np.zeros(placed.shape[:2], dtype=np.float32)
    length[:, :-1] += 0.5 * drawn
    length[:, 1:] += 0.5 * drawn
    total = np.maximum(length.sum(axis=1), 1e-3)
    mass = np.einsum("np,npc->nc", length, placed) / total[:, None]
    placed += np.round(MIDDLE - mass)[:, None, :]
    return placed, length


def _ink(points: Floats, length: Floats, half_width: Floats) -> NDArray[np.uint8]:
    """Images (N, 784) of `points` (N, P, 2) in pixels that carry `length` (N, P) of stroke each.

    Every point splats a Gaussian, which is separable, so an image is one small matrix product:
    ink[i, j] = Σ_p exp(−(i − y_p)²/2σ²) · length_p/(σ√2π) · exp(−(j − x_p)²/2σ²). At distance d
    from a long stroke that is exp(−d²/2σ²). The pen's edge, d = half_width, is half black.
    """
    # Below 0.65 px the Gaussians of neighbouring points would come apart.
    sigma = np.maximum(half_width / 2.1, 0.65)
    pixels = np.arange(SIDE, dtype=np.float32)
    narrow = (1.0 / (math.sqrt(2.0) * sigma))[:, None, None]

    def gaussian(centre: Floats) -> Floats:
        z: Floats = (pixels - centre[:, :, None]) * narrow
        np.multiply(z, -z, out=z)
        np.maximum(z, -30.0, out=z)  # beyond it denormal numbers make the product slow
        np.exp(z, out=z)
        return z

    rows, columns = gaussian(points[:, :, 1]), gaussian(points[:, :, 0])
    rows *= (length / (math.sqrt(2.0 * math.pi) * sigma)[:, None])[:, :, None]
    ink = (rows.transpose(0, 2, 1) @ columns).reshape(len(points), -1)
    # The middle of a stroke, where ink is 1, is black whatever the pen.
    level = np.minimum(np.exp(-0.5 * (half_width / sigma) ** 2), 0.5)
    # Half black at the edge; 5 % steeper than that takes, so that the Gaussian's tail stays white.
    ink *= (127.5 * 1.05 / level)[:, None]
    ink -= 127.5 * 0.05
    np.clip(ink, 0.0, 255.0, out=ink)
    return ink.astype(np.uint8)
