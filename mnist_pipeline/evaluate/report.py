"""The report of one version: a single HTML file that needs neither network nor scripts."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import string
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.contract.records import REASONS
from mnist_pipeline.evaluate.charts import (
    FEW_CLASSES,
    Html,
    confusion_table,
    el,
    join,
    learning_figures,
    png,
    reliability_chart,
    text,
)
from mnist_pipeline.evaluate.metrics import Metrics, percent

MOST_CLASSES = 64
"""A confusion matrix of more classes is left out; its largest entries are listed all the same."""

MOST_REJECTS, MOST_LETTERS = 50, 300
"""Rejected rows shown, and letters shown of each one's detail: the quarantine has them all."""

_VERDICTS = {
    "promote": ("promoted", "Promoted"),
    "hold": ("held", "Held"),
    "block": ("blocked", "Blocked"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report shows. What is empty or None leaves its section out.

    Attributes:
        status: `promoted`, `held`, `blocked`, `unchanged` or a gate's `promote`, `hold`, `block`.
        reasons: `code: sentence` each, the deciding ones first.
        history: one mapping a record, in order: `step`, `epoch`, `loss`, `validation_accuracy`,
            `validation_loss`, `learning_rate`; any of them may be missing or None.
        mistakes: image (height · width,) uint8, label, predicted (indices into `classes`),
            confidence.
        dataset: `rows`, `accepted`: int; `rejected`: count by reason; `sides`: rows by side
            (`train`, `validation`, `exam`); `class_counts`: by side, a count for each class.
        rejects: some rejected rows: `source`, `place`, `reason`, `detail`.
        lineage: what the version was made of, by name: digests, seed, parts.
        config_toml: the resolved configuration.
        champion: the champion's metrics on the same exam, to compare with.
        transfer: `name`, `accuracy`, `n` of real handwriting that a model trained on drawings read.
    """

    model: str
    version: int | None
    status: str
    reasons: Sequence[str]
    metrics: Metrics
    classes: Sequence[str]
    history: Sequence[Mapping[str, Any]] = ()
    mistakes: Sequence[tuple[NDArray[np.uint8], int, int, float]] = ()
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejects: Sequence[Mapping[str, Any]] = ()
    lineage: Mapping[str, str] = dataclasses.field(default_factory=dict)
    config_toml: str = ""
    champion: Metrics | None = None
    transfer: Mapping[str, Any] | None = None
    height: int = 28
    width: int = 28


def render(data: ReportData) -> str:
    """The report as one HTML page; the same data always gives the same bytes."""
    name = data.model if data.version is None else f"{data.model} {data.version}"
    sections = (
        _headline(data),
        _learning(data.history),
        _errors(data),
        _mistakes(data),
        el("section", _per_class(data), _rows(data), class_="two"),
        _rejects(data),
        _origin(data),
    )
    return string.Template(_resource("report.html")).substitute(
        title=text(f"{name}: {_verdict(data.status)[1].lower()}"),
        css=_resource("report.css"),
        body=join(sections),
    )


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _verdict(status: str) -> tuple[str, str]:
    return _VERDICTS.get(status, (status, status.capitalize()))


def _section(title: str, *content: object) -> Html:
    return el("section", el("h2", title), *content)


def _note(*words: object) -> Html:
    return el("p", *words, class_="note")


def _table(head: Sequence[object], rows: Iterable[Sequence[object]], style: str = "list") -> Html:
    """A table whose first column names the rows."""
    header = el("thead", el("tr", *(el("th", cell, scope="col") for cell in head)))
    lines = (
        el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:]))
        for row in rows
    )
    return el("table", header, el("tbody", *lines), class_=style)


# ---------------------------------------------------------------------------------- the sections


def _headline(data: ReportData) -> Html:
    style, verdict = _verdict(data.status)
    version = "" if data.version is None else el("small", f" version {data.version}")
    reasons = []
    for reason in data.reasons:
        code, _, sentence = reason.partition(": ")
        words = sentence[:1].upper() + sentence[1:] + "." if sentence else ""
        reasons.append(el("li", words, " ", el("code", code)))
    return el(
        "header",
        el("h1", data.model, version),
        el("div", verdict, class_=f"badge {style}"),
        el("ul", *reasons, class_="reasons"),
        _tiles(data.metrics, data.champion),
    )


def _tiles(metrics: Metrics, champion: Metrics | None) -> Html:
    between = [percent(edge) for edge in metrics.accuracy_interval or ()]
    tiles = [
        ("Accuracy", percent(metrics.accuracy), between and f"95 % interval {' – '.join(between)}"),
        ("Log loss", _nats(metrics.log_loss), "mean −ln p of the true class"),
        ("Calibration error", percent(metrics.ece), "ECE over 15 bins of confidence"),
        ("Exam rows", f"{metrics.n:,}", f"{metrics.n - metrics.correct:,} read wrongly"),
    ]
    before = champion and (
        percent(champion.accuracy),
        _nats(champion.log_loss),
        percent(champion.ece),
    )
    parts = []
    for (name, value, line), old in zip_longest(tiles, before or ()):
        lines = [line or "", old and f"champion {old}"]
        parts.append(
            el("div", el("dt", name), el("dd", value), *(el("dd", line) for line in lines if line))
        )
    return el("dl", *parts, class_="tiles")


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _learning(history: Sequence[Mapping[str, Any]]) -> Html:
    figures = learning_figures(history)
    return _section("Learning", el("div", figures, class_="three")) if figures else Html()


def _errors(data: ReportData) -> Html:
    metrics = data.metrics
    if not metrics.n:
        return _section("Errors", _note("The exam has no rows, so nothing is known."))
    pairs = [
        (-n, i, j)
        for i, row in enumerate(metrics.confusion)
        for j, n in enumerate(row)
        if i != j and n
    ]
    worst = "; ".join(
        f"{data.classes[i]} read as {data.classes[j]}, {-n:,} of {sum(metrics.confusion[i]):,}"
        for n, i, j in sorted(pairs)[:4]
    )
    confusion = _section(
        "Confusion",
        _note(f"Most often {worst}." if worst else "Not one row was read wrongly."),
        confusion_table(metrics.confusion, data.classes)
        if len(data.classes) <= MOST_CLASSES
        else "",
    )
    reliability = _section(
        "Reliability",
        _note(
            "How often the model is right when it is that sure. On the dashed line it is as good "
            "as it says; below, too sure of itself. The bars are 95 % intervals."
        ),
        reliability_chart(
            metrics.reliability, f"Reliability diagram, calibration error {percent(metrics.ece)}"
        ),
    )
    beside = len(data.classes) <= FEW_CLASSES
    return el("section", confusion, reliability, class_="two uneven" if beside else "two stacked")


def _per_class(data: ReportData) -> Html:
    if not data.metrics.n:
        return Html()
    before = (
        {entry.label: entry.recall for entry in data.champion.per_class} if data.champion else {}
    )
    rows = []
    for entry in data.metrics.per_class:
        old, change = before.get(entry.label), Html()
        if old is not None and entry.recall is not None and entry.recall != old:
            style = "better" if entry.recall > old else "worse"
            change = el("small", f"{100 * (entry.recall - old):+.2f}", class_=style)
        recall = join((change, " ", percent(entry.recall)))
        rows.append(
            (entry.label, percent(entry.precision), recall, percent(entry.f1), f"{entry.support:,}")
        )
    macro = f"Mean F1 of the classes {percent(data.metrics.macro_f1)}."
    note = f"{macro} Beside the recall: its change against the champion, in points."
    table = _table(("class", "precision", "recall", "F1", "rows"), rows)
    return _section("Classes", _note(note if data.champion else macro), table)


def _mistakes(data: ReportData) -> Html:
    if not data.mistakes:
        return Html()
    figures = []
    for image, label, predicted, confidence in data.mistakes:
        truth, answer = data.classes[label], data.classes[predicted]
        figures.append(
            el(
                "figure",
                el(
                    "img",
                    src=png(image.reshape(data.height, data.width)),
                    alt=f"a {truth} read as {answer}",
                    style=f"--w:{data.width};--h:{data.height}",
                ),
                el("figcaption", f"{truth} → {answer}", el("small", percent(confidence))),
            )
        )
    return _section(
        "Most confident mistakes",
        _note("True class → what the model read, and how sure it was."),
        el("div", *figures, class_="digits"),
    )


def _rows(data: ReportData) -> Html:
    sides = data.dataset.get("sides") or {}
    if not sides:
        return Html()
    counts = data.dataset.get("class_counts") or {}
    every = ("all", *(el("b", f"{n:,}") for n in sides.values()))
    by_class = (
        (name, *(f"{counts[side][i]:,}" if side in counts else "–" for side in sides))
        for i, name in enumerate(data.classes if counts else ())
    )
    note = _note("What it learned from, what it was tuned on, what it was judged by.")
    return _section("Rows", note, _table(("class", *sides), [every, *by_class]))


def _rejects(data: ReportData) -> Html:
    if not data.dataset and not data.rejects:
        return Html()
    rejected = {code: n for code, n in (data.dataset.get("rejected") or {}).items() if n}
    rows, accepted = data.dataset.get("rows", 0), data.dataset.get("accepted", 0)
    balance = f"{rows:,} rows came in: {accepted:,} accepted, {sum(rejected.values()):,} rejected."
    if rows != accepted + sum(rejected.values()):
        balance += " These counts do not add up."
    reasons = [(code, f"{rejected[code]:,}", REASONS.get(code, "")) for code in sorted(rejected)]
    total = max(sum(rejected.values()), len(data.rejects))
    shown = [
        (
            f"{reject.get('source', '')}:{reject.get('place', '')}",
            join((el("code", reject.get("reason", "")), " ", _short(reject.get("detail", "")))),
        )
        for reject in data.rejects[:MOST_REJECTS]
    ]
    some = f"{len(shown)} of {total:,}; the quarantine has them all." if len(shown) < total else ""
    return _section(
        "Rejected rows",
        _note(balance) if data.dataset else "",
        _table(("reason", "rows", "meaning"), reasons, "list words") if reasons else "",
        _note(some) if shown else "",
        _table(("place", "reason and detail"), shown, "list words") if shown else "",
    )


def _short(detail: object) -> str:
    words = str(detail or "")
    return words if len(words) <= MOST_LETTERS else words[:MOST_LETTERS] + " …"


def _origin(data: ReportData) -> Html:
    facts = [
        el(tag, word)
        for name, value in data.lineage.items()
        for tag, word in (("dt", name), ("dd", el("code", value)))
    ]
    lineage = _section("Lineage", el("dl", *facts, class_="facts")) if facts else ""
    config = data.config_toml.strip("\n")
    settings = _section("Configuration", el("pre", config)) if config else ""
    return el("section", lineage, settings, class_="two") if lineage or settings else Html()
