"""Ways of writing as matrices: from control points to evenly spaced points of a smooth stroke."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.sources.strokes import WAYS

POINTS = 80
"""Points a digit is resampled to: at most about 0.8 px apart once it is 20 px tall."""


@dataclasses.dataclass(frozen=True)
class Curves:
    """A table of ways compiled: W ways of writing, up to K control points each.

    Attributes:
        control: (W, K, 2) float32, control points (x, y), a digit being about 1 tall.
        curve: (W, POINTS, K) float32; `curve @ control` are points of the smooth stroke.
        chord: (W, POINTS, K) float32; the same points, on straight lines between control points.
        down: (W, POINTS - 1) float32, 0 where the pen is lifted between a point and the next.
        share: (W,) float64, cumulative: the ways of digit d reach from above d to d + 1.
    """

    control: NDArray[np.float32]
    curve: NDArray[np.float32]
    chord: NDArray[np.float32]
    down: NDArray[np.float32]
    share: NDArray[np.float64]

    def choose(self, labels: NDArray[np.int64], uniform: NDArray[np.float32]) -> NDArray[np.int64]:
        """A way for each label (N,), by its share; `uniform` (N,) in [0, 1).

        float32 in, float64 here: the sum is exact and can never round up to the next digit.
        """
        return np.searchsorted(self.share, labels + uniform.astype(np.float64), side="right")


@functools.cache
def curves() -> Curves:
    """The table `WAYS`, compiled once a process."""
    return compiled(WAYS)


def compiled(table: Mapping[int, Sequence[tuple[float, str]]]) -> Curves:
    """A table like `WAYS`, with ways for all ten digits in order."""
    texts = [text for ways in table.values() for _, text in ways]
    shape = (len(texts), POINTS, max(len(text.replace(" / ", " ").split()) for text in texts))
    control = np.zeros((shape[0], shape[2], 2), dtype=np.float32)
    curve, chord = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    down = np.ones((shape[0], POINTS - 1), dtype=np.float32)
    for way, text in enumerate(texts):
        points, ends, corners = _parse(text)
        k = len(points)
        control[way, :k] = points
        curve[way, :, :k], chord[way, :, :k], lifts = _resampling(points, ends, corners)
        down[way, lifts] = 0.0
    shares = [np.cumsum([share for share, _ in ways]) for ways in table.values()]
    share = np.concatenate([digit + part / part[-1] for digit, part in enumerate(shares)])
    return Curves(control, curve, chord, down, share)


def _parse(text: str) -> tuple[NDArray[np.float64], list[int], set[int]]:
    """A way's text → control points (K, 2), the index after each stroke, corner indices."""
    points: list[list[float]] = []
    ends: list[int] = []
    corners: set[int] = set()
    for stroke in text.split(" / "):
        for word in stroke.split():
            if word.endswith("!"):
                corners.add(len(points))
            points.append([float(number) for number in word.rstrip("!").split(",")])
        ends.append(len(points))
    return np.array(points) / 100.0, ends, corners


def _resampling(
    control: NDArray[np.float64], ends: list[int], corners: set[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """Matrices (POINTS, K) from control points to points evenly spaced along the strokes.

    Returns the one for curves, the one for straight lines, and the points after which the pen is
    lifted.
    """
    strokes = [_spline(control, a, b, corners) for a, b in itertools.pairwise([0, *ends])]
    steps = [np.linalg.norm(np.diff(curve @ control, axis=0), axis=1) for curve, _ in strokes]
    lengths = np.array([step.sum() for step in steps])
    counts = np.maximum(4, np.round(POINTS * lengths / lengths.sum())).astype(int)
    counts[np.argmax(counts)] += POINTS - counts.sum()
    rows = []
    for both, step, count in zip(strokes, steps, counts, strict=True):
        along = np.concatenate([[0.0], np.cumsum(step)])
        at = np.interp(np.linspace(0.0, along[-1], count), along, np.arange(len(along)))
        low = np.minimum(at.astype(int), len(step) - 1)
        t = (at - low)[:, None]
        rows.append([(1 - t) * matrix[low] + t * matrix[low + 1] for matrix in both])
    curve, chord = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return curve, chord, [int(last) - 1 for last in np.cumsum(counts)[:-1]]


def _spline(
    control: NDArray[np.float64], start: int, end: int, corners: set[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (M, K) of one stroke, 40 a segment: the Catmull-Rom curve, and straight lines.

    Centripetal Catmull-Rom (Yuksel, Schaefer, Keyser 2011): knot distances d_i = |P_{i+1} − P_i|^½,
    tangents (P_{i+1} − P_i)/d_i − (P_{i+1} − P_{i−1})/(d_{i−1} + d_i) + (P_i − P_{i−1})/d_{i−1}; at
    ends and corners the tangent is the chord. Cubic Hermite polynomials between.
    """
    unit = np.eye(len(control))
    d: NDArray[np.float64] = np.sqrt(np.linalg.norm(np.diff(control, axis=0), axis=1))

    def tangent(i: int, segment: int) -> NDArray[np.float64]:
        slope: NDArray[np.float64] = (unit[segment + 1] - unit[segment]) / d[segment]
        if i not in (start, end - 1) and i not in corners:
            across = (unit[i + 1] - unit[i - 1]) / (d[i - 1] + d[i])
            slope = (unit[i + 1] - unit[i]) / d[i] - across + (unit[i] - unit[i - 1]) / d[i - 1]
        return slope

    curve, chord = [unit[start : start + 1]], [unit[start : start + 1]]
    t = np.linspace(0.0, 1.0, 41)[1:, None]
    for i in range(start, end - 1):
        step = 3 * t**2 - 2 * t**3
        m0, m1 = tangent(i, i) * d[i], tangent(i + 1, i) * d[i]
        curve.append(
            (1 - step) * unit[i]
            + step * unit[i + 1]
            + (t**3 - 2 * t**2 + t) * m0
            + (t**3 - t**2) * m1
        )
        chord.append((1 - t) * unit[i] + t * unit[i + 1])
    return np.concatenate(curve), np.concatenate(chord)
