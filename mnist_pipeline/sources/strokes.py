"""How people write the ten digits: a table of strokes, and the matrices that make points of them.

A way of writing is a line of text: points `x,y` on a grid of about 100 × 100, y downwards, in the
order in which the pen passes them. `!` after a point is a sharp corner, ` / ` lifts the pen.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
from numpy.typing import NDArray

POINTS = 80
"""Points a digit is resampled to: at most about 0.8 px apart once it is 20 px tall."""

WAYS: dict[int, tuple[tuple[float, str], ...]] = {
    0: (
        (3, "42,0 18,10 4,50 16,90 38,100 60,88 72,48 60,10 40,1"),
        (3, "62,12 40,0 14,16 2,54 16,92 40,100 64,82 74,45 64,16 46,6"),
        (2, "52,2 24,14 8,60 20,96 40,92 60,50 62,12 46,0"),
        (2, "50,0 12,14 0,50 14,88 50,100 86,86 98,50 84,14 48,2"),
        (2, "30,8 8,36 4,70 22,98 46,96 68,66 70,30 56,6 36,2 28,14"),
        (1, "58,22 40,2 14,18 2,58 20,96 48,98 68,66 66,26 46,8 30,18 36,32"),
        (1, "30,4 10,30 4,70 24,100 52,92 68,56 66,20 52,2"),
        (2, "46,0 26,26 4,72 20,98 58,98 74,74 62,30 44,0"),
        (1, "62,0 38,12 8,40 4,74 24,90 52,72 72,36 74,12 56,2"),
        (0.6, "20,0 6,30 4,74 24,100 52,94 70,56 66,16 46,4 28,22"),
        (0.8, "42,0 18,10 4,50 16,90 38,100 60,88 72,48 60,10 40,1 / 60,10 38,52 16,92"),
        (1, "60,4 24,6 2,40 20,72 64,70 98,36 84,8 50,2"),
        (0.7, "34,14 44,0 16,12 2,52 18,94 46,98 70,70 72,36 58,8 40,6 52,24"),
    ),
    1: (
        (10, "50,0 50,33 50,66 50,100"),
        (2, "52,0 54,33 53,66 48,100"),
        (2, "46,0 44,33 46,66 52,100"),
        (1, "44,0 54,30 46,68 56,100"),
        (1, "54,0 46,30 54,68 46,100"),
        (1.2, "38,22 44,12 50,0! 50,50 50,100"),
        (1, "30,26 42,16 52,0! 52,50 50,100"),
        (1, "26,24 42,14 52,0! 51,50 50,100 / 20,100 50,99 82,100"),
        (0.6, "24,30 40,22 54,0! 52,50 50,96! 14,98 50,98 88,96"),
        (0.6, "50,0 49,50 48,96! 66,96 80,92"),
        (0.4, "40,10 52,0! 50,50 46,100 / 22,100 70,98"),
    ),
    2: (
        (3, "6,20 26,2 56,4 64,26 48,56 6,98! 40,97 78,96"),
        (3, "4,24 24,2 54,2 66,24 54,52 30,80 6,96 4,82 22,76 44,90 66,98 84,90"),
        (2, "8,14 34,0 60,10 58,34 36,64 10,92! 36,86 60,94 88,90"),
        (2, "0,12 30,4 66,6 62,26 34,60 6,96! 50,92 92,92"),
        (2, "8,34 16,8 44,0 64,16 58,46 36,76 12,94 2,84 16,74 34,82 54,98 74,96"),
        (1.5, "2,30 24,6 54,4 66,26 60,60 42,88 18,98 4,84 18,70 44,76 92,82"),
        (1.5, "4,10 36,2! 62,4 34,50 4,96! 40,94 74,98"),
        (1, "14,20 34,0 58,12 54,44 34,76 12,96 4,90 12,82 28,88 44,100 62,92"),
        (1, "26,14 40,0 54,12 46,44 28,78 18,96! 40,98 62,92"),
        (1, "20,30 14,14 32,0 54,12 54,40 38,70 16,90 8,82 22,72 42,82 58,100 72,92"),
        (0.8, "0,30 30,4 64,0 82,16 70,44 40,70 10,84 0,74 20,66 60,74 100,76"),
        (1.5, "4,22 24,2 52,6 60,34 46,70 20,98 0,86 8,68 36,74 64,94 84,90"),
        (1.2, "8,14 34,0 56,10 50,40 28,72 4,90! 30,76 56,92 94,86"),
        (1, "4,14 28,0 42,10 30,50 12,94! 50,84 98,76"),
        (1, "10,34 20,6 46,0 60,18 50,50 14,92! 36,88 64,98"),
        (0.7, "0,40 10,10 50,0 84,14 78,44 40,76 8,84 4,70 30,64 66,82 100,98"),
    ),
    3: (
        (3, "6,12 30,0 58,10 54,34 26,48! 58,56 68,80 40,100 4,88"),
        (3, "8,16 34,0 58,14 48,38 28,46 26,50 54,56 64,78 44,98 16,100 2,86"),
        (2, "4,4 34,2 62,4! 48,24 26,42! 56,50 66,76 44,98 4,92"),
        (2, "10,10 38,0 60,12 50,32 26,44 20,50 32,52 58,58 62,82 34,100 0,92"),
        (2, "0,16 30,4 68,2 62,20 36,46! 62,52 66,74 38,96 -4,96"),
        (1.5, "6,24 26,2 52,6 54,30 34,46 22,44 34,44 60,58 64,84 38,100 12,94 4,80"),
        (1, "4,8 40,0 74,6 60,28 30,40! 66,44 84,66 60,94 0,96"),
        (1, "16,4 46,4 50,22 30,44! 50,54 52,78 36,98 14,98"),
        (1, "10,10 36,0 50,16 30,44! 56,54 66,74 64,100"),
        (1, "8,22 10,6 34,0 54,12 46,34 26,46! 54,50 66,72 44,96 14,98 2,84 16,74"),
        (1, "12,8 32,0 46,10 40,28 22,38! 60,36 76,60 60,92 24,100 0,84"),
        (0.8, "2,18 40,0 72,8 52,34 26,44! 50,50 50,74 30,94 0,100"),
    ),
    4: (
        (3, "14,4 8,30 6,54! 36,54 68,50 / 62,0 58,50 54,100"),
        (3, "24,4 14,28 0,58! 34,58 72,54 / 56,20 48,60 42,100"),
        (2, "6,0 6,24 12,44 34,46 60,34 / 68,0 62,40 56,100"),
        (2, "30,0 18,26 2,56! 36,56 78,54 / 58,0 48,50 38,100"),
        (2, "10,6 8,28 14,46! 38,46 62,42 / 66,4! 62,44 60,100"),
        (1.5, "54,0 30,32 0,64! 44,64 84,62 / 56,2 56,50 54,100"),
        (1, "48,96 52,50 54,0! 28,32 0,62! 40,62 82,60"),
        (1.5, "12,4 2,40 10,56 36,50 60,34 68,4! 60,50 50,100"),
        (1.5, "20,6 10,28 2,50! 34,54 64,46 / 76,0 54,46 34,100"),
        (1, "0,8 4,30 12,44! 44,44 78,42 / 80,12! 82,60 82,100"),
        (1, "40,4 14,26 8,46 30,50 56,38 66,8! 56,54 44,100"),
        (1, "34,0 20,24 4,44! 30,46 90,40 / 56,14 52,56 50,100"),
        (1, "8,12 0,60! 32,62 70,54 / 64,6 62,50 60,100"),
        (1, "46,0 22,36 6,64! 40,64 70,60 / 48,2! 56,50 58,100"),
        (1, "4,0 0,36 16,58 44,52 62,10! 60,56 56,100"),
        (0.7, "16,20 4,40 10,54! 50,50 90,40 / 60,0 50,50 44,100"),
    ),
    5: (
        (3, "68,0 42,3 16,4! 14,24 10,44! 36,36 62,52 60,82 34,100 2,90"),
        (3, "22,6 16,28 12,46! 40,38 62,54 58,82 34,99 2,94 / 20,6 48,4 78,0"),
        (2, "92,0 62,8 34,16! 28,30 18,46! 42,46 58,62 46,86 22,96 0,88"),
        (2, "66,6 46,0 22,8 14,26 28,42 54,56 60,78 40,98 4,90"),
        (2, "60,0 36,2 16,6! 18,24 20,44! 48,46 60,66 52,90 26,100 4,86"),
        (1.5, "100,2 70,6 42,10! 30,28 22,44! 50,46 64,64 46,88 20,98 0,90 10,80"),
        (1, "70,4 40,2 14,8! 20,24 40,44 52,64 48,86 28,100 12,92 8,78"),
        (1, "50,10 28,4 14,20 22,42 46,58 52,80 34,100 16,96 14,80 26,62"),
        (1, "82,0 44,4 8,2! 10,22 10,38! 46,30 82,50 76,82 42,98 0,86"),
        (1, "60,2 18,4! 14,24 14,40! 40,32 56,50 52,76 40,100"),
        (1, "70,2 46,4 20,6! 16,24 12,40! 44,34 66,60 50,96 16,98 6,80 22,68"),
        (0.8, "66,0 24,12! 26,30 22,44! 40,46 48,66 36,92 0,100"),
        (0.8, "60,4 30,8! 26,26 24,36! 66,36 92,60 70,90 30,98 0,92"),
    ),
    6: (
        (3, "52,0 24,28 6,66 16,96 42,98 60,78 48,60 26,66 12,84"),
        (3, "34,0 16,34 6,74 24,100 52,92 60,70 42,56 20,68 14,88"),
        (2, "62,2 34,12 10,48 8,84 32,100 58,84 58,62 38,54 14,72"),
        (2, "26,0 14,40 10,80 30,98 54,88 54,68 36,60 18,74 14,92"),
        (2, "78,0 46,22 12,60 6,88 34,98 70,84 76,66 52,58 22,76 12,92"),
        (1.5, "20,0 12,40 12,90! 36,98 58,84 54,66 36,60 16,74"),
        (1, "64,10 44,0 16,24 4,66 20,98 50,98 68,76 56,54 28,56 8,74"),
        (1, "44,0 16,26 2,62 20,98 62,98 88,76 72,56 46,62 36,78 52,88"),
        (1, "40,0 24,34 10,96! 30,76 54,62 62,78 44,94 18,94"),
        (1, "14,0 2,44 10,88 40,100 82,84 92,60 70,48 48,64 50,86"),
        (0.8, "4,0 2,50 18,94 44,90 62,58! 78,66 74,86 50,92"),
        (0.8, "70,4 30,20 4,56 14,92 44,100 60,84 44,66 20,70 6,80"),
    ),
    7: (
        (4, "4,8 34,6 66,4! 50,40 32,100"),
        (3, "8,16 30,8 60,4 62,16 46,50 30,100"),
        (2, "4,22 8,6! 36,6 66,2! 48,44 34,100"),
        (2, "2,12 34,4 60,6 62,28 54,62 48,100"),
        (2, "10,24 26,8 44,14 60,6! 44,48 26,100"),
        (1.5, "4,8 34,6 66,2! 50,40 32,100 / 22,52 48,50 78,50"),
        (1, "2,8 30,10 56,4! 48,44 40,100 / 18,58 66,52"),
        (1, "2,30 16,4! 36,8 58,4! 56,46 52,100"),
        (1, "0,14 50,4 96,0! 62,46 26,100"),
        (1, "12,10 36,8 46,0! 44,46 40,100"),
        (1, "2,6 40,2 72,12 70,36 48,66 20,92"),
        (1.2, "6,36 10,10! 34,6 62,4! 62,50 56,100"),
        (1, "6,26 20,8 46,6 64,18 60,50 44,100"),
        (0.8, "4,14 26,10 50,4! 40,50 22,92! 40,94"),
        (0.7, "0,20 8,6! 36,8 66,4! 46,46 34,100 / 20,54 74,46"),
    ),
    8: (
        (3, "60,14 40,0 14,14 24,40 52,62 50,90 28,100 10,84 26,58 52,36 62,16"),
        (2, "56,8 34,0 12,16 20,38 48,54 64,78 44,100 14,96 4,76 24,54 50,36 58,14"),
        (2, "84,2 58,6 30,8 20,24 32,44 46,64 36,94 14,98 10,78 34,52 64,28 88,0"),
        (2, "54,10 38,0 22,12 24,34 42,52 46,80 32,100 18,84 24,58 44,38 56,12"),
        (2, "34,46 12,28 22,4 46,0 58,18 44,40 18,58 10,84 30,100 54,90 54,64 34,46"),
        (1.5, "20,2 10,20 26,40 46,60 46,90 26,100 8,84 22,58 48,34 58,6 38,0 18,6"),
        (1.5, "36,44 14,30 20,6 44,0 58,16 52,36 34,44! 8,62 10,90 36,100 60,88 60,62 36,46"),
        (1, "66,14 42,0 10,8 14,30 44,48 72,66 66,92 34,100 4,84 16,60 44,42 70,20"),
        (1, "54,22 60,6 34,0 22,18 34,42 46,62 36,94 20,100 14,80 36,50 70,16"),
        (0.8, "8,8 24,30 46,54 52,84 30,100 10,86 22,58 44,36 58,8 42,0 30,12"),
        (1, "90,12 56,2 22,10 20,28 44,44 50,70 34,96 8,96 6,76 34,52 70,30"),
        (1, "40,40 8,26 16,4 56,2 76,20 40,42! 4,60 12,90 56,98 82,76 40,42"),
        (0.8, "70,10 44,2 24,16 30,36 40,54 34,86 18,100 4,86 20,60 52,36 60,20"),
    ),
    9: (
        (3, "54,14 34,2 8,22 10,46 32,48 52,28 56,10! 54,50 50,100"),
        (3, "56,18 38,0 12,14 6,38 26,50 48,36 58,10! 50,54 36,100"),
        (2, "58,16 36,2 10,16 4,38 24,46 54,24 62,8 56,40 42,72 28,100"),
        (2, "48,46 20,48 6,26 20,4 46,2 58,22 54,60 44,100"),
        (1.5, "54,20 34,0 8,14 6,38 28,48 54,28 58,14 60,56 50,90 30,100 8,90"),
        (1.5, "74,6 40,2 10,18 8,36 30,42 58,22 70,10! 58,50 40,100"),
        (1.5, "62,4 34,4 10,20 8,36 30,38 50,28! 50,60 44,100"),
        (1, "46,2 22,4 6,26 14,46 36,42 46,14! 50,56 60,98"),
        (1, "60,8 30,8 2,30 16,46 46,36 62,14! 72,56 86,96"),
        (1, "50,36 36,50 14,46 6,22 20,2 44,2 54,20 52,50! 48,100"),
        (1, "40,4 18,8 8,28 16,42 36,34 44,8 42,30 40,60 38,100"),
        (1.2, "40,2 14,10 4,32 20,50 48,40 58,18 44,2! 60,20 58,60 54,100"),
        (1, "52,12 30,0 8,16 10,36 34,44 52,22! 54,60 40,94 16,100 4,88"),
        (0.8, "50,6 24,8 8,26 20,42 46,36 62,20! 44,60 20,100"),
    ),
}
"""digit → (share, strokes) of every way to write it; shares are relative within a digit."""


@dataclasses.dataclass(frozen=True)
class Pen:
    """The table compiled: W ways of writing, up to K control points each.

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
def pen() -> Pen:
    """The table `WAYS`, compiled once a process."""
    texts = [text for ways in WAYS.values() for _, text in ways]
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
    shares = [np.cumsum([share for share, _ in ways]) for ways in WAYS.values()]
    share = np.concatenate([digit + part / part[-1] for digit, part in enumerate(shares)])
    return Pen(control, curve, chord, down, share)


def _parse(text: str) -> tuple[NDArray[np.float64], list[int], set[int]]:
    """A way of writing → control points (K, 2), the index after each stroke, corner indices."""
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
