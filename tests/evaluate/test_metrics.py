"""Metrics against hand-computed values, published ones and the plainest possible loops."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_pipeline.errors import TrainingError
from mnist_pipeline.evaluate.metrics import (
    RELIABILITY_BINS,
    Metrics,
    cost_in_words,
    measure,
    mistakes,
    percent,
    wilson,
)


def exam(labels: list[int], rows: list[list[float]]) -> Metrics:
    classes = [f"c{i}" for i in range(len(rows[0]))]
    return measure(np.array(labels, np.uint8), np.array(rows, np.float32), classes)


@st.composite
def exams(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) uint8 and probabilities (N, C) float32, ties and zeros included."""
    C, n = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    weights = np.array(
        draw(
            st.lists(
                st.lists(st.integers(0, 4), min_size=C, max_size=C).filter(any),
                min_size=n,
                max_size=n,
            )
        ),
        np.float64,
    )
    labels = draw(st.lists(st.integers(0, C - 1), min_size=n, max_size=n))
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.array(labels, np.uint8), probabilities


def test_a_small_exam_computed_by_hand():
    metrics = exam(
        [0, 0, 1, 1, 2],
        [
            [0.75, 0.25, 0.0],  # 0 as 0
            [0.25, 0.5, 0.25],  # 0 as 1
            [0.0, 1.0, 0.0],  # 1 as 1
            [0.25, 0.75, 0.0],  # 1 as 1
            [0.5, 0.25, 0.25],  # 2 as 0
        ],
    )
    assert metrics.n == 5
    assert metrics.correct == 3
    assert metrics.accuracy == 0.6
    assert metrics.confusion == ((1, 1, 0), (0, 2, 0), (1, 0, 0))
    zero, one, two = metrics.per_class
    assert (zero.label, zero.precision, zero.recall, zero.f1, zero.support) == (
        "c0",
        0.5,
        0.5,
        0.5,
        2,
    )
    assert (one.precision, one.recall, one.f1) == (2 / 3, 1.0, 0.8)
    # never predicted: its precision is unknown, yet its F1 is as bad as can be
    assert (two.precision, two.recall, two.f1, two.support) == (None, 0.0, 0.0, 1)
    assert metrics.macro_f1 == pytest.approx((0.5 + 0.8 + 0.0) / 3)
    logs = [0.75, 0.25, 1.0, 0.75, 0.25]
    assert metrics.log_loss == pytest.approx(-sum(map(math.log, logs)) / 5)
    # bins: two rows at 0.5 (0 right), two at 0.75 (2 right), one at 1.0 (1 right)
    assert metrics.ece == pytest.approx((2 * 0.5 + 2 * 0.25 + 1 * 0.0) / 5)


@given(exams())
def test_everything_agrees_with_plain_loops(case):
    labels, probabilities = case
    n, C = probabilities.shape
    metrics = measure(labels, probabilities, [str(i) for i in range(C)])
    predicted = [max(range(C), key=lambda j, row=row: (row[j], -j)) for row in probabilities]
    pairs = list(zip(map(int, labels), predicted, strict=True))
    assert metrics.accuracy == sum(t == p for t, p in pairs) / n
    for i in range(C):
        for j in range(C):
            assert metrics.confusion[i][j] == pairs.count((i, j))
        of_class = [p for t, p in pairs if t == i]
        read_as = [t for t, p in pairs if p == i]
        entry = metrics.per_class[i]
        assert entry.support == len(of_class)
        assert entry.recall == (of_class.count(i) / len(of_class) if of_class else None)
        assert entry.precision == (read_as.count(i) / len(read_as) if read_as else None)
        if entry.precision and entry.recall:
            harmonic = 2 / (1 / entry.precision + 1 / entry.recall)
            assert entry.f1 == pytest.approx(harmonic)
        else:
            assert entry.f1 == (0.0 if of_class else None)
    losses = [-math.log(max(float(probabilities[r, t]), 1e-15)) for r, (t, _) in enumerate(pairs)]
    assert metrics.log_loss == pytest.approx(sum(losses) / n)
    ece = 0.0
    for m in range(RELIABILITY_BINS):
        lower, upper = m / RELIABILITY_BINS, (m + 1) / RELIABILITY_BINS
        rows = [r for r, (_, p) in enumerate(pairs) if lower < float(probabilities[r, p]) <= upper]
        entry = metrics.reliability[m]
        assert (entry.lower, entry.upper, entry.n) == (lower, upper, len(rows))
        if not rows:
            assert entry.confidence is None
            assert entry.accuracy is None
            continue
        confidence = sum(float(probabilities[r, pairs[r][1]]) for r in rows) / len(rows)
        accuracy = sum(pairs[r][0] == pairs[r][1] for r in rows) / len(rows)
        assert entry.confidence == pytest.approx(confidence)
        assert entry.accuracy == pytest.approx(accuracy)
        ece += len(rows) / n * abs(accuracy - confidence)
    assert metrics.ece == pytest.approx(ece)
    assert sum(entry.n for entry in metrics.reliability) == n


@given(exams())
def test_metrics_survive_json_unchanged(case):
    labels, probabilities = case
    metrics = measure(labels, probabilities, ["x"] * probabilities.shape[1])
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json(), allow_nan=False))) == metrics


def test_an_empty_exam_determines_nothing():
    metrics = measure(np.zeros(0, np.uint8), np.zeros((0, 3), np.float32), "abc")
    assert metrics.n == 0
    for name in ("accuracy", "accuracy_interval", "log_loss", "ece", "macro_f1"):
        assert getattr(metrics, name) is None
    assert metrics.confusion == ((0, 0, 0),) * 3
    for entry in metrics.per_class:
        assert (entry.precision, entry.recall, entry.f1, entry.support) == (None, None, None, 0)
    assert Metrics.from_json(json.loads(json.dumps(metrics.to_json()))) == metrics


def test_a_class_without_rows_has_no_recall_and_does_not_count_in_the_mean():
    metrics = exam([0, 0], [[0.75, 0.25], [0.25, 0.75]])
    absent = metrics.per_class[1]
    assert (absent.recall, absent.precision, absent.f1) == (None, 0.0, None)
    assert metrics.macro_f1 == metrics.per_class[0].f1 == pytest.approx(2 / 3)


def test_many_classes_do_not_overflow_the_labels_type():
    labels = np.arange(200, dtype=np.uint8)
    probabilities = np.eye(200, dtype=np.float32)
    metrics = measure(labels, probabilities, [str(i) for i in range(200)])
    assert metrics.accuracy == 1.0
    assert all(metrics.confusion[i][i] == 1 for i in range(200))


def test_a_perfect_exam_costs_zero_and_not_minus_zero():
    loss = exam([1], [[0.0, 1.0]]).log_loss
    assert loss == 0.0
    assert math.copysign(1, loss) == 1.0


def test_certainty_in_the_wrong_class_costs_a_bounded_amount():
    assert exam([0], [[0.0, 1.0]]).log_loss == pytest.approx(-math.log(1e-15))


def test_bins_include_their_upper_edge():
    edge = 6 / RELIABILITY_BINS  # 0.4, exactly an edge in float64
    probabilities = np.array([[edge, 0.3, 0.3]])
    bins = measure(np.array([0]), probabilities, "abc").reliability
    assert [entry.upper for entry in bins if entry.n] == [edge]


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_matches_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_wilson_ends_are_the_rates_the_score_test_just_rejects(n, share):
    successes = round(share * n)
    rate = successes / n
    low, high = wilson(successes, n)
    assert 0.0 <= low <= rate <= high <= 1.0
    assert (low == 0.0) == (successes == 0)
    assert (high == 1.0) == (successes == n)
    for end in (low, high):
        # at an end p of the interval: (p̂ − p)² = z²·p(1 − p)/n
        square = 1.959963984540054**2 * end * (1 - end) / n
        assert (rate - end) ** 2 == pytest.approx(square, rel=1e-6, abs=1e-18)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_model_is_explained(bad):
    probabilities = np.array([[0.5, 0.5], [bad, 0.5]], np.float32)
    with pytest.raises(TrainingError, match="not finite") as caught:
        measure(np.array([0, 1]), probabilities, "ab")
    assert caught.value.facts == {"rows": 1, "of": 2}


@pytest.mark.parametrize(
    ("labels", "shape", "classes"), [([0], (2, 2), "ab"), ([0], (1, 3), "ab"), ([2], (1, 2), "ab")]
)
def test_arrays_that_do_not_fit_are_refused(labels, shape, classes):
    with pytest.raises(ValueError, match="expected"):
        measure(np.array(labels), np.full(shape, 0.5, np.float32), classes)


@given(exams(), st.integers(0, 8))
def test_mistakes_are_the_most_confident_wrong_rows(case, most):
    labels, probabilities = case
    wrong = [
        (-float(row.max()), r) for r, row in enumerate(probabilities) if row.argmax() != labels[r]
    ]
    found = mistakes(labels, probabilities, most)
    assert [(-m.confidence, m.row) for m in found] == sorted(wrong)[:most]
    for mistake in found:
        assert mistake.label == labels[mistake.row]
        assert mistake.predicted == probabilities[mistake.row].argmax()


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, "–"),
        (0.9812, "98.12 %"),
        (1.0, "100.00 %"),
        (0.0, "0.00 %"),
        (0.99999, "99.999 %"),
        (1 - 1e-12, "100.000000 %"),
    ],
)
def test_percent_claims_all_only_for_all(share, expected):
    assert percent(share) == expected


def test_metrics_need_numpy_only():
    code = "import sys, mnist_pipeline.evaluate.metrics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in packages
    assert packages.isdisjoint(
        {"pyarrow", "pandera", "polars", "pandas", "pydantic", "matplotlib", "scipy", "prefect"}
    )


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ({"views": 1, "microseconds": 12.34}, "12.3 µs an image on one core"),
        (
            {"views": 5, "microseconds": 1052.5},
            "1,052 µs an image on one core: 5 views, 5 times the cost of one (210 µs)",
        ),
        ({"views": 9}, "9 views, 9 times the cost of one"),
        ({"views": 1}, "not measured"),
    ],
)
def test_cost_in_words(cost, expected):
    assert cost_in_words(cost) == expected
