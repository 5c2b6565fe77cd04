"""Figures that show exactly their numbers."""

import math
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mnist_pipeline.evaluate.charts import (
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    ink_chart,
    interval_chart,
    learning_figures,
    line_chart,
    log_ticks,
    reliability_chart,
    ticks,
)
from mnist_pipeline.evaluate.metrics import measure


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_around_the_data(low, span):
    assume(span > 1e-8 * abs(low))
    values = ticks(low, low + span)
    step = values[1] - values[0]
    assert 2 <= len(values) <= 7
    assert values[0] <= low + 1e-6 * step
    assert values[-1] >= low + span - 1e-6 * step
    assert f"{step:.3e}"[0] in "125"


@given(st.floats(1e-15, 1e6), st.floats(9, 1e12))
def test_log_ticks_are_few_and_around_the_data(low, factor):
    values = log_ticks(low, low * factor)
    assert 2 <= len(values) <= 8
    assert values == sorted(set(values))
    assert values[0] <= low * (1 + 1e-9)  # a thousandth of a pixel is much more
    assert values[-1] >= low * factor * (1 - 1e-9)


@given(
    st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=700),
    st.booleans(),
    st.sampled_from(["", "%"]),
)
def test_curves_stay_inside_their_frame(ys, log, unit):
    ys = [min(y, 1.0) for y in ys] if unit else ys
    log = log and max(ys) > 8 * min(ys)
    curve = list(enumerate(ys, 1))
    svg = line_chart([curve], "s", x_title="step", y_unit=unit, log=log)
    (path,) = re.findall(r' d="M([^"]*)"', svg)
    points = [tuple(map(float, point.split())) for point in path.split("L")]
    assert len(points) <= 2 * MOST_POINTS + 1
    assert points[0][0] == LEFT
    if len(ys) > 1:
        assert points[-1][0] == WIDTH - RIGHT
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP - 0.1 <= y <= 178.1 for x, y in points)
    # higher values are drawn higher
    drawn = points if len(ys) <= MOST_POINTS else []
    for (_, y_a), (_, y_b), a, b in zip(drawn, drawn[1:], ys, ys[1:], strict=False):
        assert (a - b) * (y_b - y_a) >= 0


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_percent_axes_end_at_all_and_at_none(parse, share):
    page = parse(line_chart([[(1, share), (2, share)]], "s", x_title="step", y_unit="%"))
    labels = [float(word[:-1]) for word in page.words if word.endswith("%")]
    assert 0 <= min(labels) < max(labels) <= 100
    heights = [float(a["y1"]) for tag, a in page.tags if tag == "line"]
    assert (min(heights), max(heights)) == (TOP, 178)


def test_learning_curves_leave_out_what_is_not_told(parse):
    figures = learning_figures(
        [
            {"step": 10, "loss": 1.0, "validation_accuracy": None},
            {"step": 20, "loss": math.nan},
            {"step": 30, "loss": 0.5, "validation_accuracy": 0.5},
            {"step": 40, "validation_accuracy": 0.75, "learning_rate": 0.1},
        ]
    )
    page = parse(figures)
    captions = [
        word for word in page.words if word in ("Loss", "Validation accuracy", "Learning rate")
    ]
    assert captions == ["Loss", "Validation accuracy"]  # one learning rate is no curve
    assert page.words.count("step") == 2
    assert [a["d"].count("L") for tag, a in page.tags if tag == "path"] == [1, 1]


@pytest.mark.parametrize(
    ("records", "title"),
    [
        ([{"epoch": 1, "step": 5}, {"epoch": 2, "step": 9}], "epoch"),
        ([{"epoch": 1, "step": 5}, {"epoch": 1, "step": 9}], "step"),
        ([{"epoch": 1}, {"step": 9}], "record"),
    ],
)
def test_the_axis_counts_what_every_record_tells(parse, records, title):
    figures = learning_figures([{**record, "loss": 1.0 + i} for i, record in enumerate(records)])
    assert title in parse(figures).words


def test_an_ensemble_stands_beside_the_curve_of_its_members():
    lines = [
        {"step": n, "epoch": n, "loss": 1 / n, "validation_accuracy": 0.9 + n / 100}
        for n in (1, 2, 3)
    ]
    alone = learning_figures(lines)
    whole = learning_figures([*lines, {**lines[-1], "validation_accuracy": 0.98, "ensemble": True}])
    for words in ("mean of the members", "all together"):
        assert words in whole
        assert words not in alone
    assert "Validation accuracy by epoch, 98" in whole
    assert 'class="dot series-2"' in whole
    # The last line is no step of its own: the other figures stay as they were.
    loss = re.compile(r"<figure><figcaption>Loss.*?</figure>", re.DOTALL)
    assert loss.search(whole)[0] == loss.search(alone)[0]
    unknown = {**lines[-1], "validation_accuracy": None, "ensemble": True}
    assert "Validation accuracy by epoch" in learning_figures([*lines, unknown])


def test_no_history_draws_nothing():
    assert learning_figures([]) == ""
    assert learning_figures([{"epoch": 1, "loss": 1.0}]) == ""


def test_the_reliability_diagram_marks_every_bin_that_has_rows(parse):
    rng = np.random.default_rng(7)
    top = rng.uniform(0.5, 1.0, 300)
    labels = (rng.uniform(size=300) > top).astype(int)  # right as often as it says
    metrics = measure(labels, np.stack([top, 1 - top], axis=1), "ab")
    page = parse(reliability_chart(metrics.reliability, "summary"))
    filled = [entry for entry in metrics.reliability if entry.n]
    dots = [a for tag, a in page.tags if tag == "circle"]
    assert len(dots) == len(filled) == page.count("rect")
    for entry, dot in zip(filled, dots, strict=True):
        assert float(dot["cx"]) == pytest.approx(
            LEFT + entry.confidence * (WIDTH - LEFT - RIGHT), abs=0.01
        )
        assert float(dot["cy"]) == pytest.approx(208 - entry.accuracy * (208 - TOP), abs=0.01)
    assert f"{filled[-1].n:,} images" in page.words


def test_intervals_lie_where_their_numbers_say(parse):
    answers = [("a@2", 0.98, (0.97, 0.985)), ("a@1", 0.96, (0.95, 0.975))]
    page = parse(interval_chart(answers, "summary"))
    spans = [a for tag, a in page.tags if a.get("class", "").startswith("span")]
    dots = [float(a["cx"]) for tag, a in page.tags if tag == "circle"]
    places = [(float(a["x1"]), float(a["x2"])) for a in spans]
    scale = (places[0][1] - places[0][0]) / 0.015  # units a share of 1
    for (_, accuracy, (low, high)), (x1, x2), dot in zip(answers, places, dots, strict=True):
        assert x2 - x1 == pytest.approx(scale * (high - low), rel=0.01)
        assert dot - x1 == pytest.approx(scale * (accuracy - low), rel=0.01)
        assert x1 - places[0][0] == pytest.approx(scale * (low - 0.97), abs=0.1)
        assert 0 <= x1 <= x2 <= WIDTH
    assert page.words.count("98.00 %") == page.words.count("96.00 %") == 1


def test_ink_is_drawn_bin_by_bin_with_its_median(parse):
    counts = [0] * 100
    counts[10], counts[11], counts[14] = 5, 10, 1
    page = parse(ink_chart(counts, 0.112, "summary"))
    bars = [a for tag, a in page.tags if tag == "rect"]
    heights = [float(bar["height"]) for bar in bars]
    assert heights[1:] == pytest.approx([2 * heights[0], 0, 0, heights[0] / 5], abs=0.02)
    assert "ink 11 to 12 %: 10 images" in page.words
    (mark,) = [a for tag, a in page.tags if a.get("class") == "median"]
    left, right = float(bars[1]["x"]), float(bars[2]["x"])
    assert float(mark["x1"]) == pytest.approx(left + 0.2 * (right - left), abs=0.5)
    assert "median 11.20 %" in page.words
