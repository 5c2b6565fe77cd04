"""The gate: may a candidate take the champion's place? Each judge gives a finding with reasons."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.errors import ConfigError, IntegrityError
from mnist_pipeline.evaluate.metrics import Metrics, percent
from mnist_pipeline.plugins import option

Status = Literal["promote", "hold", "block"]

_SEVERITY: dict[Status, int] = {"promote": 0, "hold": 1, "block": 2}


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's answers in an exam.

    Attributes:
        name: what a person calls the model: `candidate`, `digits@3`.
        labels: (N,) integers, the true classes.
        probabilities: (N, C) float32.
        metrics: `measure(labels, probabilities, classes)`.
        exam_digest: which exam it was; only answers in the same exam compare.
        exam_rows_trained_on: exam rows known to have been among its training rows.
        microseconds: CPU time of an answer when it was judged first; None if nobody measured it.
    """

    name: str
    labels: NDArray[np.integer[Any]]
    probabilities: NDArray[np.floating[Any]]
    metrics: Metrics
    exam_digest: str
    exam_rows_trained_on: int = 0
    microseconds: float | None = None

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) bool: which rows were read correctly."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """What a gate judges.

    Attributes:
        candidate: the new model.
        champion: the one in its place now; None if there is none yet.
        best_accuracy: the best accuracy any champion ever had on this exam.
    """

    candidate: Evaluation
    champion: Evaluation | None
    best_accuracy: float | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """A judgement and why, each reason as `code: sentence`.

    `block`: shown to be too bad. `hold`: not shown to be good enough. `promote`: neither.
    """

    status: Status
    reasons: tuple[str, ...]


@runtime_checkable
class Gate(Protocol):
    """The gate seam: a frozen dataclass of options that judges a case.

    One that judges new data before anything is trained has `inspect` in place of `judge`, or both:
    see `data_gate.DataGate`.
    """

    def judge(self, case: Case) -> Finding:
        """The finding; the same for the same case, at any time and on any machine."""
        ...


def combine(findings: Iterable[Finding]) -> Finding:
    """One finding out of many: the most severe wins; all reasons stay, the deciding ones first."""
    ordered = sorted(findings, key=lambda finding: -_SEVERITY[finding.status])
    if not ordered:
        return Finding("hold", ("not_judged: no gate has judged this candidate",))
    reasons = tuple(reason for finding in ordered for reason in finding.reasons)
    return Finding(ordered[0].status, reasons)


@dataclasses.dataclass(frozen=True)
class Floors:
    """What every model must reach, whatever the champion does. Below a floor: block."""

    min_accuracy: float = option(0.0, "block below this accuracy on the exam, in [0, 1]")
    min_recall: float = option(0.0, "block if any class's recall is below this, in [0, 1]")

    def __post_init__(self) -> None:
        for name in ("min_accuracy", "min_recall"):
            _check_range("floors", name, getattr(self, name), "a share from 0 to 1, such as 0.95")

    def judge(self, case: Case) -> Finding:
        metrics = case.candidate.metrics
        if metrics.accuracy is None:
            return Finding("block", ("exam_empty: the exam has no rows, so nothing is known",))
        below, unknown = [], []
        if metrics.accuracy < self.min_accuracy:
            below.append(
                f"below_floor: accuracy {_of(metrics.correct, metrics.n)} is below the floor "
                f"of {percent(self.min_accuracy)}"
            )
        for i, entry in enumerate(metrics.per_class):
            if entry.recall is None:
                if self.min_recall > 0:
                    unknown.append(
                        f"recall_unknown: the exam has no rows of class {entry.label!r}, so its "
                        f"recall cannot be held against the floor of {percent(self.min_recall)}"
                    )
            elif entry.recall < self.min_recall:
                below.append(
                    f"below_floor: recall of class {entry.label!r} "
                    f"{_of(metrics.confusion[i][i], entry.support)} is below the floor "
                    f"of {percent(self.min_recall)}"
                )
        if below or unknown:
            return Finding("block" if below else "hold", (*below, *unknown))
        recall, label = min((e.recall, e.label) for e in metrics.per_class if e.recall is not None)
        return Finding(
            "promote",
            (
                f"above_floors: accuracy {percent(metrics.accuracy)} "
                f"(floor {percent(self.min_accuracy)}), lowest recall {percent(recall)} "
                f"for class {label!r} (floor {percent(self.min_recall)})",
            ),
        )


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Candidate against champion, row by row on the same exam.

    Only rows that exactly one of them reads correctly tell them apart: b where it is the
    candidate, c where it is the champion. Were both equally good, each such row would fall to
    either side like a fair coin, b ~ Binomial(b + c, ½). `better` promotes if so many rows for
    the candidate would be rarer than `alpha`. `not_worse` promotes if the accuracy is at most
    `margin` below the best champion ever, not the last one, lest many small steps go far down.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated
    proportions or percentages", Psychometrika 12 (1947), in its exact form.
    """

    alpha: float = option(0.05, "promote only if chance alone would do it more rarely than this")
    rule: Literal["better", "not_worse"] = option(
        "better", "better: significantly; not_worse: within `margin` of the best champion ever"
    )
    margin: float = option(0.002, "how much accuracy `not_worse` may give up, in [0, 1]")

    def __post_init__(self) -> None:
        _check_range("mcnemar", "margin", self.margin, "a share from 0 to 1, such as 0.002")
        _check_range("mcnemar", "alpha", self.alpha, "a probability above 0, such as 0.05")
        if self.alpha == 0:
            raise ConfigError(
                "the gate 'mcnemar' with alpha = 0 would never promote",
                expected="a probability above 0, such as 0.05",
                remedy="set a larger gate.alpha",
            )

    def judge(self, case: Case) -> Finding:
        candidate, champion = case.candidate, case.champion
        accuracy = candidate.metrics.accuracy
        if accuracy is None:
            return Finding("hold", ("exam_empty: the exam has no rows, so nothing is known",))
        bests = [case.best_accuracy, champion.metrics.accuracy if champion else None]
        known = [value for value in bests if value is not None]
        if champion is not None:
            if obstacle := _incomparable(candidate, champion):
                return Finding("hold", (obstacle,))
            if self.rule == "better":
                return self._better(candidate, champion)
        elif self.rule == "better" or not known:
            return Finding(
                "promote",
                ("first_version: there is no champion to compare with; the floors decide",),
            )
        return self._not_worse(accuracy, max(known))

    def _better(self, candidate: Evaluation, champion: Evaluation) -> Finding:
        b = int((candidate.right & ~champion.right).sum())
        c = int((champion.right & ~candidate.right).sum())
        p = mcnemar_p(b, c)
        n = candidate.metrics.n
        evidence = (
            f"{b:,} of the {n:,} exam rows are read correctly by the candidate alone, "
            f"{c:,} by {champion.name} alone"
        )
        if significant(b, c, self.alpha):
            gain = f"{percent(champion.metrics.accuracy)} → {percent(candidate.metrics.accuracy)}"
            return Finding(
                "promote",
                (
                    f"better_than_champion: accuracy {gain}; {evidence} "
                    f"(exact one-sided McNemar p = {p:.4g} < {self.alpha:g})",
                ),
            )
        lead = detectable_lead(b + c, self.alpha)
        return Finding(
            "hold",
            (
                f"not_better: {evidence} (b = {b}, c = {c}, exact one-sided McNemar p = {p:.4g}, "
                f"needed < {self.alpha:g}); the smallest detectable difference here is "
                f"{100 * lead / n:.3g} points of accuracy (b − c = {lead} rows)",
            ),
        )

    def _not_worse(self, accuracy: float, best: float) -> Finding:
        limits = f"the best champion's {percent(best)} less a margin of {percent(self.margin)}"
        # 1e-12 absorbs the rounding of `best - margin`; one row of any real exam is far more
        if accuracy >= best - self.margin - 1e-12:
            return Finding(
                "promote", (f"not_worse: accuracy {percent(accuracy)} reaches {limits}",)
            )
        return Finding(
            "hold", (f"worse_than_best: accuracy {percent(accuracy)} is below {limits}",)
        )


def mcnemar_p(b: int, c: int) -> float:
    """P(X ≥ b), X ~ Binomial(b + c, ½): how often chance alone favours the candidate this much.

    The upper tail is its first term times a sum of ratios of neighbours, none above 1:

        C(n, b)/2ⁿ · (1 + r_b + r_b·r_{b+1} + …),   r_k = C(n, k + 1)/C(n, k) = (n − k)/(k + 1)

    The relative error, lgamma's, stays below 1e-8 for b + c up to a million.
    """
    n = b + c
    if 2 * b <= n:  # by symmetry P(X ≥ b) = 1 − P(X ≥ n − b + 1), whose terms fall from the first
        return 1.0 if b == 0 else 1.0 - mcnemar_p(n - b + 1, b - 1)
    log_first = math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - n * math.log(2)
    k = np.arange(b, n, dtype=np.float64)
    ratios = np.cumprod((n - k) / (k + 1))
    return math.exp(log_first) * (1.0 + float(ratios.sum()))


def significant(b: int, c: int, alpha: float) -> bool:
    """Whether p is below alpha; a tie is not, whatever the last digits of either have become."""
    return mcnemar_p(b, c) < alpha * (1 - 1e-8)


def detectable_lead(disagreements: int, alpha: float) -> int:
    """The smallest b − c that is significant among `disagreements` = b + c rows.

    Divided by the exam's rows it is the smallest detectable difference in accuracy. Below
    ⌊log₂(1/alpha)⌋ + 1 disagreements not even c = 0 is significant; then it is that number:
    the fewest rows by which anything can be shown at all.
    """
    n = max(disagreements, math.floor(-math.log2(alpha)) + 1)
    low, high = 0, n  # `high` is significant, `low` is not; p falls with b
    while high - low > 1:
        middle = (low + high) // 2
        if significant(middle, n - middle, alpha):
            high = middle
        else:
            low = middle
    return 2 * high - n


def _incomparable(candidate: Evaluation, champion: Evaluation) -> str | None:
    """Why the two must not be compared, as a reason; None if they may be."""
    if candidate.exam_digest != champion.exam_digest:
        return (
            f"exam_changed: {champion.name} was judged on exam {champion.exam_digest[:12]}, the "
            f"candidate on {candidate.exam_digest[:12]}; `models exam set --reason` accepts it"
        )
    for model in (candidate, champion):
        if model.exam_rows_trained_on:
            return (
                f"exam_seen: {model.name} trained on {model.exam_rows_trained_on:,} rows of this "
                "exam, so its answers there say nothing"
            )
    if not np.array_equal(candidate.labels, champion.labels):
        raise IntegrityError(
            f"the candidate and {champion.name} answered different rows of one exam",
            exam=candidate.exam_digest,
            expected=f"{len(champion.labels)} equal labels",
            found=f"{len(candidate.labels)} labels",
            remedy="run `mnist-pipeline models verify`",
        )
    return None


def _check_range(gate: str, name: str, value: float, expected: str) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(
            f"the gate {gate!r} cannot take {name} = {value:g}",
            expected=expected,
            remedy=f"set gate.{name} within that range",
        )


def _of(count: int, n: int) -> str:
    return f"{percent(count / n)} ({count:,} of {n:,} rows)"
