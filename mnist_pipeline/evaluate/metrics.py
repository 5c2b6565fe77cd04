"""What an exam says about a classifier, as numbers: only what its rows determine, else None."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import TrainingError

PROBABILITY_FLOOR = 1e-15
"""The least a true class's probability counts in the log loss: no row costs over 34.5 nats."""

RELIABILITY_BINS = 15
"""Bins of equal width over the top probability, as in Guo et al. (2017)."""

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution: two sides of 2.5 % leave 95 %."""


@dataclasses.dataclass(frozen=True)
class ClassMetrics:
    """One class against all others.

    Attributes:
        label: the class's name.
        precision: of the rows read as this class, the share that is; None if there is none.
        recall: of the rows of this class, the share read as it; None if there is none.
        f1: the harmonic mean of both; None where the class has no rows.
        support: rows of this class.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclasses.dataclass(frozen=True)
class Bin:
    """The rows whose top probability lies in (`lower`, `upper`].

    Attributes:
        n: how many there are.
        confidence: their mean top probability; None if there are none.
        accuracy: the share of them read correctly; None if there are none.
    """

    lower: float
    upper: float
    n: int
    confidence: float | None
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Metrics:
    """How good a classifier was on `n` rows of C classes.

    Attributes:
        accuracy: the share of rows whose most probable class is the true one.
        accuracy_interval: its 95 % interval, see `wilson`.
        log_loss: mean −ln p of the true class, in nats, p at least `PROBABILITY_FLOOR`.
        ece: expected calibration error over `RELIABILITY_BINS` bins, in [0, 1].
        macro_f1: the mean F1 of the classes that have one.
        per_class: one entry a class, in the contract's order.
        confusion: (C, C) counts; rows are true classes, columns predicted ones.
        reliability: the bins behind `ece`, ascending.
    """

    n: int
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    log_loss: float | None
    ece: float | None
    macro_f1: float | None
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[Bin, ...]

    @property
    def correct(self) -> int:
        """Rows read correctly: the trace of the confusion matrix."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": None
            if self.accuracy_interval is None
            else list(self.accuracy_interval),
            "log_loss": self.log_loss,
            "ece": self.ece,
            "macro_f1": self.macro_f1,
            "per_class": [dataclasses.asdict(entry) for entry in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "reliability": [dataclasses.asdict(entry) for entry in self.reliability],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        interval = data["accuracy_interval"]
        return cls(
            n=data["n"],
            accuracy=data["accuracy"],
            accuracy_interval=None if interval is None else (interval[0], interval[1]),
            log_loss=data["log_loss"],
            ece=data["ece"],
            macro_f1=data["macro_f1"],
            per_class=tuple(ClassMetrics(**entry) for entry in data["per_class"]),
            confusion=tuple(tuple(row) for row in data["confusion"]),
            reliability=tuple(Bin(**entry) for entry in data["reliability"]),
        )


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of all rates p that a score test does not reject, given `successes` of `n` > 0.

        (p̂ + z²/2n ± z·√(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n),   p̂ = successes / n

    Unlike p̂ ± z·√(p̂(1 − p̂)/n) it stays inside [0, 1] and does not collapse at p̂ = 1.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22 (1927).
    """
    rate = successes / n
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # at either end centre and spread cancel: exactly, but for rounding
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def measure(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    classes: Sequence[str],
) -> Metrics:
    """Everything an exam says about a classifier.

    Args:
        labels: (N,) integers, the true classes' positions in `classes`.
        probabilities: (N, C) float32, each row over the classes. Ties go to the first class.
        classes: C names.

    Raises:
        TrainingError: a probability is NaN or infinite.
    """
    truth, predicted, confidence = _read(labels, probabilities, len(classes))
    n, C = probabilities.shape
    # confusion[i, j] = rows of class i read as class j
    confusion = np.bincount(truth * C + predicted, minlength=C * C).reshape(C, C)
    per_class = tuple(_per_class(confusion, i, str(name)) for i, name in enumerate(classes))
    f1s = [entry.f1 for entry in per_class if entry.f1 is not None]
    reliability = _reliability(confidence, truth == predicted)
    correct = int(np.trace(confusion))
    return Metrics(
        n=n,
        accuracy=correct / n if n else None,
        accuracy_interval=wilson(correct, n) if n else None,
        log_loss=_log_loss(truth, probabilities) if n else None,
        ece=_ece(reliability, n) if n else None,
        macro_f1=math.fsum(f1s) / len(f1s) if f1s else None,
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        reliability=reliability,
    )


def _read(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], C: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The true class, the predicted class and its probability: three (N,) arrays, checked."""
    if probabilities.ndim != 2 or probabilities.shape != (len(labels), C) or C == 0:
        raise ValueError(
            f"probabilities have shape {probabilities.shape}, expected {(len(labels), C)}"
        )
    # int64, since i·C + j overflows the uint8 in which labels are stored
    truth = np.asarray(labels).astype(np.int64)
    if len(truth) and not 0 <= truth.min() <= truth.max() < C:
        raise ValueError(f"labels lie in [{truth.min()}, {truth.max()}], expected [0, {C - 1}]")
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise TrainingError(
            "the model gives probabilities that are not finite numbers",
            rows=bad,
            of=len(truth),
            remedy="lower train.learning_rate and train again",
        )
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(truth)), predicted].astype(np.float64)
    return truth, predicted.astype(np.int64), confidence


def _per_class(confusion: NDArray[np.int64], i: int, label: str) -> ClassMetrics:
    hits, support, claimed = (
        int(confusion[i, i]),  # TP
        int(confusion[i].sum()),  # TP + FN
        int(confusion[:, i].sum()),  # TP + FP
    )
    return ClassMetrics(
        label=label,
        precision=hits / claimed if claimed else None,
        recall=hits / support if support else None,
        # F1 = 2·TP / (2·TP + FP + FN): zero, not undefined, for a class that is never predicted
        f1=2 * hits / (support + claimed) if support else None,
        support=support,
    )


def _log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.floating[Any]]) -> float:
    of_truth = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    # −1/N · Σ ln p(true class); + 0.0 spells a perfect score 0.0, not −0.0
    return float(-np.log(np.clip(of_truth, PROBABILITY_FLOOR, 1.0)).mean()) + 0.0


def _reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Bins I_m = ((m − 1)/M, m/M] over the top probability, with mean confidence and accuracy."""
    M = RELIABILITY_BINS
    edges = np.arange(M + 1) / M
    # `left` puts a value on an edge into the bin it closes, as the half-open intervals say
    m = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, M - 1)
    counts = np.bincount(m, minlength=M)
    confidences = np.bincount(m, weights=confidence, minlength=M)
    hits = np.bincount(m, weights=right, minlength=M)
    return tuple(
        Bin(
            lower=float(edges[i]),
            upper=float(edges[i + 1]),
            n=int(counts[i]),
            confidence=float(confidences[i] / counts[i]) if counts[i] else None,
            accuracy=float(hits[i] / counts[i]) if counts[i] else None,
        )
        for i in range(M)
    )


def _ece(reliability: Sequence[Bin], n: int) -> float:
    # ECE = Σ_m |B_m|/N · |acc(B_m) − conf(B_m)|
    # Source: Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017
    return math.fsum(
        entry.n / n * abs(entry.accuracy - entry.confidence)
        for entry in reliability
        if entry.accuracy is not None and entry.confidence is not None
    )


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A row read wrongly.

    Attributes:
        row: its position in the exam, from 0.
        label: the true class's index.
        predicted: the index of the class it was read as.
        confidence: the probability the model gave to that.
    """

    row: int
    label: int
    predicted: int
    confidence: float


def mistakes(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.floating[Any]], most: int = 24
) -> list[Mistake]:
    """The rows read wrongly with the highest confidence, worst first; equal ones in row order.

    Args: as for `measure`; `most` bounds the list.
    """
    C = probabilities.shape[1] if probabilities.ndim == 2 else 0
    truth, predicted, confidence = _read(labels, probabilities, C)
    wrong = np.flatnonzero(truth != predicted)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")[:most]]
    return [
        Mistake(int(row), int(truth[row]), int(predicted[row]), float(confidence[row]))
        for row in worst
    ]


def percent(share: float | None) -> str:
    """A share in [0, 1] for people: `98.12 %`; never `100.00 %` for less than all."""
    if share is None:
        return "–"
    digits = 2
    while digits < 6 and share < 1 and f"{100 * share:.{digits}f}" == f"{100:.{digits}f}":
        digits += 1
    return f"{100 * share:.{digits}f} %"


def cost_in_words(cost: Mapping[str, Any]) -> str:
    """What an answer costs, for people: `views`, and `microseconds` an image where it is known."""
    views, measured = cost["views"], cost.get("microseconds")
    words = [] if measured is None else [f"{_microseconds(measured)} an image on one core"]
    if views > 1:
        one = "" if measured is None else f" ({_microseconds(measured / views)})"
        words.append(f"{views} views, {views} times the cost of one{one}")
    return ": ".join(words) or "not measured"


def _microseconds(value: float) -> str:
    return f"{value:,.0f} µs" if value >= 100 else f"{value:.3g} µs"
