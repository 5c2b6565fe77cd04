"""The report's few figures, as SVG.

Written by hand rather than with matplotlib, whose import alone costs fifty of these reports: the
text stays text, the colours follow the page's light or dark theme, and no date or random id can
get in. Figures are drawn 360 units wide, about their width on a phone and in a desktop column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mnist_pipeline.evaluate.markup import Html, el, join
from mnist_pipeline.evaluate.metrics import Bin, percent, wilson

WIDTH, LEFT, RIGHT, TOP = 360.0, 50.0, 8.0, 10.0
MOST_POINTS = 300
"""A curve is drawn with about this many points: more than its pixels show."""


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) that cover [low, high], `most` at the most."""
    if high - low <= 1e-9 * abs(high):  # as good as constant: room around it instead
        pad = abs(low) * 0.05 or 0.5
        low, high = low - pad, high + pad
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (magnitude * factor for factor in (1, 2, 5, 10, 20)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [float(f"{i * step:.15g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or powers alone where those are many, around [low, high]."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors, step = ((1, 2, 5), 1) if last - first <= 2 else ((1,), max(1, (last - first) // 4))
    values = [float(f"{f}e{e}") for e in range(first, last + step, step) for f in factors]
    start = max((i for i, value in enumerate(values) if value <= low), default=0)
    stop = min((i for i, value in enumerate(values) if value >= high), default=len(values) - 1)
    return values[start : stop + 1]


class Axis:
    """A mapping of values to positions, linear or logarithmic, that spans its own ticks."""

    def __init__(
        self, low: float, high: float, start: float, end: float, *, log: bool = False, most: int = 6
    ) -> None:
        self.ticks = log_ticks(low, high) if log else ticks(low, high, most)
        self.log, self.start, self.end = log, start, end
        self.low, self.high = (self._f(self.ticks[0]), self._f(self.ticks[-1]))

    def _f(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def __call__(self, value: float) -> float:
        share = (self._f(value) - self.low) / (self.high - self.low or 1.0)
        return self.start + share * (self.end - self.start)


def _label(value: float, unit: str) -> str:
    return f"{100 * value:.6g}%" if unit == "%" else f"{value:.6g}"


def _frame(x: Axis, y: Axis, bottom: float, x_unit: str, y_unit: str) -> Html:
    """Grid lines, tick labels."""
    parts = []
    for value in y.ticks:
        at = y(value)
        parts.append(el("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        label = _label(value, y_unit)
        parts.append(el("text", label, x=LEFT - 6, y=at + 4, text_anchor="end"))
    for value in x.ticks:
        at = x(value)
        anchor = "end" if at > WIDTH - 2 * RIGHT else "middle"
        place = min(at, WIDTH - 1) if anchor == "end" else at
        parts.append(el("text", _label(value, x_unit), x=place, y=bottom + 16, text_anchor=anchor))
    return join(parts)


def _svg(height: float, summary: str, *parts: object) -> Html:
    box = f"0 0 {WIDTH:g} {height:g}"
    return el("svg", *parts, viewBox=box, role="img", aria_label=summary, class_="chart")


def line_chart(
    curves: Sequence[Sequence[tuple[float, float]]],
    summary: str,
    *,
    x_title: str,
    y_unit: str = "",
    log: bool = False,
) -> Html:
    """Curves over one axis; the n-th has the CSS class `series-n`.

    Args:
        curves: each a list of finite (x, y), x ascending; not all empty.
        summary: the figure in words, for those who cannot see it.
        x_title: what x counts.
        y_unit: `%` prints y in percent.
        log: a logarithmic y axis; needs y > 0.
    """
    height, bottom = 220.0, 178.0
    points = [point for curve in curves for point in curve]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    y_axis = Axis(min(ys), max(ys), bottom, TOP, log=log)
    x_axis = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    if y_unit == "%" and not log:  # room above 100 % would promise what cannot be
        y_axis.ticks = [t for t in y_axis.ticks if 0 <= t <= 1]
        y_axis.low, y_axis.high = y_axis.ticks[0], y_axis.ticks[-1]
    # unlike y, x spans the data and not its ticks, of which only whole numbers are kept
    x_axis.low, x_axis.high = min(xs), max(max(xs), min(xs) + 1)
    x_axis.ticks = [t for t in x_axis.ticks if x_axis.low <= t <= x_axis.high and t == int(t)]
    drawn = []
    for i, curve in enumerate(curves, 1):
        if not curve:
            continue
        thinned = [*curve[: -1 : max(1, len(curve) // MOST_POINTS)], curve[-1]]
        places = [f"{x_axis(x):.1f} {y_axis(y):.1f}" for x, y in thinned]
        drawn.append(el("path", class_=f"line series-{i}", d=f"M{'L'.join(places)}"))
        for x, y in curve if len(curve) <= 30 else ():
            dot = {"cx": x_axis(x), "cy": y_axis(y), "r": 2.2}
            drawn.append(el("circle", class_=f"dot series-{i}", **dot))
    title = el("text", x_title, x=(LEFT + WIDTH - RIGHT) / 2, y=height - 6, text_anchor="middle")
    return _svg(height, summary, _frame(x_axis, y_axis, bottom, "", y_unit), *drawn, title)


def learning_figures(history: Sequence[Mapping[str, Any]]) -> Html:
    """Loss, validation accuracy and learning rate, as far as the history (see report.py) tells.

    A history that ends with a line about a whole ensemble shows its accuracy beside the curve of
    its members.
    """
    accuracies = {"validation": "validation_accuracy"}
    if len(history) > 1 and history[-1].get("ensemble"):
        *lines, last, together = history
        history = [*lines, {**last, "together": together.get("validation_accuracy")}]
        accuracies = {"mean of the members": "validation_accuracy", "all together": "together"}
    x_title, xs = _positions(history)

    def figure(title: str, named: Mapping[str, str], unit: str = "", log: bool = False) -> Html:
        curves = {}
        for name, key in named.items():
            ys = [math.nan if (y := record.get(key)) is None else float(y) for record in history]
            curves[name] = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        values = [y for points in curves.values() for _, y in points]
        if max(map(len, curves.values())) < 2:  # a single point is no curve
            return Html()
        log = log and min(values) > 0 and max(values) > 8 * min(values)
        notes = [el("span", "log scale")] if log else []
        for i, (name, points) in enumerate(curves.items(), 1):
            if points and len(curves) > 1:
                notes.append(el("span", el("i", class_=f"series-{i}"), name))
        summary = f"{title} by {x_title}, {_label(values[-1], unit)} at the end"
        chart = line_chart(list(curves.values()), summary, x_title=x_title, y_unit=unit, log=log)
        return el("figure", el("figcaption", title, *notes), chart)

    losses = {"training": "loss", "validation": "validation_loss"}
    return join(
        (
            figure("Loss", losses, log=True),
            figure("Validation accuracy", accuracies, unit="%"),
            figure("Learning rate", {"rate": "learning_rate"}),
        )
    )


def _positions(history: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]]:
    """What the records are counted in, and each one's place on that axis."""
    for key in ("epoch", "step"):
        told = [record.get(key) for record in history]
        xs = [float(x) for x in told if x is not None]
        if len(xs) == len(history) and all(a < b for a, b in pairwise(xs)):
            return key, xs
    return "record", [float(i) for i in range(1, len(history) + 1)]


def reliability_chart(bins: Sequence[Bin], summary: str) -> Html:
    """Accuracy against confidence a bin, with 95 % intervals, over a strip of the bins' rows."""
    height, bottom, strip = 312.0, 208.0, 288.0
    x_axis = Axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    y_axis = Axis(0.0, 1.0, bottom, TOP)
    x0, x1, y0, y1 = x_axis(0), x_axis(1), y_axis(0), y_axis(1)
    parts = [el("line", class_="ideal", x1=x0, y1=y0, x2=x1, y2=y1)]
    most = max((entry.n for entry in bins), default=0)
    for entry in bins:
        if entry.accuracy is None or entry.confidence is None:
            continue
        x, y = x_axis(entry.confidence), y_axis(entry.accuracy)
        low, high = wilson(round(entry.accuracy * entry.n), entry.n)
        parts.append(el("line", class_="whisker", x1=x, x2=x, y1=y_axis(low), y2=y_axis(high)))
        parts.append(el("circle", class_="dot series-1", cx=x, cy=y, r=3.4))
        # log(1 + n), or the last bin would leave nothing of the others to see
        tall = 40.0 * math.log1p(entry.n) / math.log1p(most)
        left, right = x_axis(entry.lower) + 0.75, x_axis(entry.upper) - 0.75
        title = el("title", f"{entry.n:,} images")
        bar = {"x": left, "y": strip - tall, "width": right - left, "height": tall}
        parts.append(el("rect", title, class_="bar", **bar))
    middle = (x0 + x1) / 2
    parts.append(el("text", "confidence", x=middle, y=bottom + 31, text_anchor="middle"))
    parts.append(el("text", "images, log scale", x=middle, y=strip + 16, text_anchor="middle"))
    parts.append(el("text", "accuracy", x=x0 + 8, y=y1 + 14))
    base = el("line", class_="grid", x1=x0, x2=x1, y1=strip, y2=strip)
    return _svg(height, summary, _frame(x_axis, y_axis, bottom, "%", "%"), base, *parts)


def interval_chart(answers: Sequence[tuple[str, float, tuple[float, float]]], summary: str) -> Html:
    """Accuracies with their 95 % intervals, one under the other on one axis.

    Args:
        answers: name, accuracy and interval of each, all in [0, 1]; the first stands out.
        summary: the figure in words.
    """
    tall, left = 44.0, RIGHT
    bottom = tall * len(answers)
    low = min(interval[0] for _, _, interval in answers)
    high = max(interval[1] for _, _, interval in answers)
    axis = Axis(low, high, left, WIDTH - 2 * RIGHT, most=5)
    parts = []
    for value in axis.ticks:
        at = axis(value)
        parts.append(el("line", class_="grid", x1=at, x2=at, y1=0.0, y2=bottom))
        anchor = "start" if at < 2 * RIGHT else "end" if at > WIDTH - 4 * RIGHT else "middle"
        parts.append(el("text", _label(value, "%"), x=at, y=bottom + 15, text_anchor=anchor))
    for i, (name, accuracy, (lower, upper)) in enumerate(answers):
        y, series = tall * i + 30, f"series-{min(i, 1) + 1}"
        words = el("tspan", percent(accuracy), class_="number")
        middle = min(max(axis(accuracy), 90.0), WIDTH - 90.0)
        parts.append(el("text", name, "  ", words, x=middle, y=y - 13, text_anchor="middle"))
        span = {"x1": axis(lower), "x2": axis(upper), "y1": y, "y2": y}
        parts.append(el("line", class_=f"span {series}", **span))
        parts.append(el("circle", class_=f"dot {series}", cx=axis(accuracy), cy=y, r=5.0))
    return _svg(bottom + 20, summary, *parts)


def ink_chart(counts: Sequence[int], median: float, summary: str) -> Html:
    """How many images have how much ink, with the median marked.

    Args:
        counts: images a bin; bins of equal width over ink in [0, 1].
        median: the ink that half of the images stay below.
        summary: the figure in words.
    """
    height, bottom = 220.0, 178.0
    filled = [i for i, count in enumerate(counts) if count]
    first, last = filled[0] / len(counts), (filled[-1] + 1) / len(counts)
    x_axis = Axis(first, last, LEFT, WIDTH - RIGHT)
    y_axis = Axis(0.0, float(max(counts)), bottom, TOP + 14, most=5)
    bars = []
    for i in range(filled[0], filled[-1] + 1):
        left, right = x_axis(i / len(counts)) + 0.5, x_axis((i + 1) / len(counts)) - 0.5
        top = y_axis(float(counts[i]))
        edges = f"{100 * i / len(counts):g} to {100 * (i + 1) / len(counts):g} %"
        tip = el("title", f"ink {edges}: {counts[i]:,} images")
        place = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        bars.append(el("rect", tip, class_="bar", **place))
    at = x_axis(median)
    anchor = "start" if at < WIDTH / 2 else "end"
    beside = at + 6 if anchor == "start" else at - 6
    mark = el("line", class_="median", x1=at, x2=at, y1=TOP, y2=bottom)
    label = el("text", f"median {percent(median)}", x=beside, y=TOP + 8, text_anchor=anchor)
    middle = (LEFT + WIDTH - RIGHT) / 2
    title = el("text", "ink of an image", x=middle, y=height - 6, text_anchor="middle")
    frame = _frame(x_axis, y_axis, bottom, "%", "")
    return _svg(height, summary, frame, *bars, mark, label, title)
