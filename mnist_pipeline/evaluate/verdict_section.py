"""The head of the report: what happened and why, in one sentence and one number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from mnist_pipeline.evaluate.charts import interval_chart
from mnist_pipeline.evaluate.markup import Html, el, join
from mnist_pipeline.evaluate.metrics import Metrics, percent
from mnist_pipeline.evaluate.report_data import ReportData

_VERDICTS = {
    "promote": ("promoted", "Promoted"),
    "hold": ("held", "Held"),
    "block": ("blocked", "Blocked"),
}

_BECAUSE = {
    "better_than_champion": "more than chance explains",
    "not_worse": "no worse than the best champion, within the margin",
    "first_version": "it passes every floor, and there is no champion before it",
    "not_better": "too little to tell it from chance",
    "worse_than_best": "too far below the best champion",
    "below_floor": "below what every version must reach",
    "recall_unknown": "one class has no image to judge it by",
    "exam_empty": "so nothing is known of it",
    "exam_changed": "but the exam is not the champion's",
    "exam_seen": "but the exam was not new to both",
    "champion_unusable": "but the champion cannot be used, so there is nothing to compare with",
    "no_exam": "without an exam nothing is published",
    "no_promote": "the gate would promote it, but promotion is switched off",
}
"""Why, in few words, by the code of a reason; the reasons themselves stand below."""


def verdict(status: str) -> tuple[str, str]:
    """The style and the word for a status."""
    return _VERDICTS.get(status, (status, status.capitalize()))


def name_of(data: ReportData) -> str:
    """`digits@4`, or `digits` where nothing was published."""
    return data.model if data.version is None else f"{data.model}@{data.version}"


def summary(data: ReportData) -> str:
    """One sentence: how well it reads, against whom, and what decided."""
    metrics, codes = data.metrics, [reason.partition(":")[0] for reason in data.reasons]
    because = next((_BECAUSE[code] for code in codes if code in _BECAUSE), "")
    if metrics.accuracy is None:
        words = f"{name_of(data)} was asked nothing"
    else:
        rows = "validation" if "no_exam" in codes else "exam"
        correct = percent(metrics.accuracy)
        words = f"{name_of(data)} reads {correct} of {metrics.n:,} {rows} images correctly"
    if data.champion and data.champion.accuracy is not None and metrics.accuracy is not None:
        points = 100 * (metrics.accuracy - data.champion.accuracy)
        change = f"{abs(points):.2f} points {'more' if points > 0 else 'less'} than"
        words += f", {'as many as' if points == 0 else change} {data.champion_name}"
    return f"{words}{': ' if because else ''}{because}."


def head(data: ReportData) -> Html:
    """Verdict, number, interval, comparison, reasons."""
    style, word = verdict(data.status)
    version = "" if data.version is None else f" · version {data.version}"
    comparison, reasons = _comparison(data), reason_list(data.reasons)
    return el(
        "header",
        el("p", data.model, version, class_="eyebrow"),
        el("h1", el("b", f"{word}."), " ", summary(data)),
        _drawings(data),
        el("div", _number(data.metrics), comparison or reasons, class_="figures"),
        _tiles(data.metrics, data.champion),
        reasons if comparison else "",
        class_=f"verdict {style}",
    )


def _number(metrics: Metrics) -> Html:
    between = " – ".join(f"{100 * edge:.2f}" for edge in metrics.accuracy_interval or ())
    return el(
        "p",
        el("strong", percent(metrics.accuracy)),
        el("span", "accuracy"),
        el("span", f"95 % interval {between} %") if between else "",
        class_="number",
    )


def _comparison(data: ReportData) -> Html:
    own, champion = data.metrics, data.champion
    if not (champion and champion.accuracy_interval and own.accuracy_interval):
        return Html()
    answers = [
        (_cut(name), metrics.accuracy or 0.0, metrics.accuracy_interval)
        for name, metrics in ((name_of(data), own), (data.champion_name, champion))
        if metrics.accuracy_interval
    ]
    words = ", ".join(f"{name} {percent(accuracy)}" for name, accuracy, _ in answers)
    chart = interval_chart(answers, f"Accuracies with their 95 % intervals: {words}")
    caption = el("figcaption", "Against the champion", el("span", "on the same exam"))
    return el("figure", caption, chart)


def _cut(name: str) -> str:
    """A name that fits over its interval; its end, which tells versions apart, stays."""
    return name if len(name) <= 24 else f"…{name[-23:]}"


def _tiles(metrics: Metrics, champion: Metrics | None) -> Html:
    weakest, label = _weakest(metrics)
    tiles = [
        ("Read wrongly", f"{metrics.n - metrics.correct:,}", f"of {metrics.n:,} images"),
        ("Weakest class", percent(weakest), f"of the images of class {label}" if label else ""),
        ("Calibration error", percent(metrics.ece), "confidence against accuracy (ECE)"),
        ("Log loss", _nats(metrics.log_loss), "mean −ln p of the true class"),
    ]
    before = (
        champion
        and champion.n
        and (
            f"{champion.n - champion.correct:,}",
            percent(_weakest(champion)[0]),
            percent(champion.ece),
            _nats(champion.log_loss),
        )
    )
    parts = []
    for (name, value, line), old in zip_longest(tiles, before or ()):
        lines = [el("dd", words) for words in (line, old and f"champion {old}") if words]
        parts.append(el("div", el("dt", name), el("dd", value), *lines))
    return el("dl", *parts, class_="tiles")


def _weakest(metrics: Metrics) -> tuple[float | None, str]:
    """The lowest recall, and whose it is."""
    recalls = [(e.recall, e.label) for e in metrics.per_class if e.recall is not None]
    return min(recalls, default=(None, ""))


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _drawings(data: ReportData) -> Html:
    """What must be known about rows that no hand has written."""
    lines = []
    if data.drawn == "all":
        words = "The program drew every row of this data set; no hand has written any of them."
        lines.append(join((el("b", "Trained on drawings."), " ", words)))
    elif data.drawn == "some":
        words = "The program drew a part of this data set."
        lines.append(join((el("b", "Trained partly on drawings."), " ", words)))
    if data.transfer:
        n, name = f"{data.transfer['n']:,}", data.transfer["name"]
        share = el("b", percent(data.transfer["accuracy"]))
        lines.append(join(("On real handwriting: ", share, f" of {n} images ({name}).")))
    elif data.drawn == "all":
        lines.append(Html("How well it reads real handwriting, this report cannot say."))
    return el("div", *(el("p", line) for line in lines), class_="notice") if lines else Html()


def reason_list(reasons: Sequence[str]) -> Html:
    """Reasons as sentences, each with its code."""
    items = []
    for reason in reasons:
        code, _, sentence = reason.partition(": ")
        words = sentence[:1].upper() + sentence[1:] + "." if sentence else ""
        items.append(el("li", words, " ", el("code", code)))
    return el("ul", *items, class_="reasons") if items else Html()
