"""How the model errs: which classes it takes for which, how sure it is when it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mnist_pipeline.evaluate.charts import reliability_chart
from mnist_pipeline.evaluate.markup import Html, el, join, note, part, picture, section, table
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.evaluate.report_data import ReportData

FEW_CLASSES = 12
"""A confusion matrix of up to so many classes fits a phone; larger ones get narrow cells."""

MOST_CLASSES = 64
"""A confusion matrix of more classes is left out; its largest entries are listed all the same."""


def errors(data: ReportData) -> Html:
    """Confusion, the worst mistakes, every class by itself, reliability."""
    title = "How it errs"
    if not data.metrics.n:
        return section(title, note("The exam has no rows, so nothing is known."))
    beside = len(data.classes) <= FEW_CLASSES
    return section(
        title,
        el("div", _confusion(data), _per_class(data), class_="two" if beside else "two stacked"),
        el("div", _mistakes(data), _reliability(data), class_="two"),
    )


def _confusion(data: ReportData) -> Html:
    confusion = data.metrics.confusion
    pairs = [
        (-n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j and n
    ]
    worst = "; ".join(
        f"{data.classes[i]} read as {data.classes[j]}, {-n:,} of {sum(confusion[i]):,}"
        for n, i, j in sorted(pairs)[:4]
    )
    return part(
        "What it takes for what",
        note(f"Most often {worst}." if worst else "Not one image was read wrongly."),
        confusion_table(confusion, data.classes) if len(data.classes) <= MOST_CLASSES else "",
    )


def _per_class(data: ReportData) -> Html:
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
    words = f"{macro} Beside the recall: its change against the champion, in points."
    head = ("class", "precision", "recall", "F1", "images")
    return part(
        "Class by class",
        note(words if data.champion else macro),
        table(head, rows, caption="Precision, recall and F1 of each class"),
    )


def _mistakes(data: ReportData) -> Html:
    if not data.mistakes:
        return Html()
    figures = []
    for image, label, predicted, confidence in data.mistakes:
        truth, answer = data.classes[label], data.classes[predicted]
        shown = picture(image.reshape(data.height, data.width), f"a {truth} read as {answer}")
        caption = el("figcaption", f"{truth} → {answer}", el("small", percent(confidence)))
        figures.append(el("figure", shown, caption))
    return part(
        "Most confident mistakes",
        note("True class → what the model read, and how sure it was."),
        el("div", *figures, class_="digits"),
    )


def _reliability(data: ReportData) -> Html:
    summary = f"Reliability diagram, calibration error {percent(data.metrics.ece)}"
    return part(
        "Does it know when it is wrong?",
        note(
            "How often it is right when it is that sure. On the dashed line it is as good as it "
            "says; below, too sure of itself. Bars are 95 % intervals; the strip counts images."
        ),
        reliability_chart(data.metrics.reliability, summary),
    )


def confusion_table(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Html:
    """The matrix as a table: rows true, columns predicted, shaded by their share of the row.

    Right cells are shaded in proportion to the recall, wrong ones to the root of their share,
    or one row in a thousand could not be told from none.
    """
    C = len(classes)
    columns = (el("th", name, scope="col", title=name) for name in classes)
    rows = [el("tr", el("td"), *columns)]
    for i, counts in enumerate(confusion):
        support, cells = sum(counts), [el("th", classes[i], scope="row", title=classes[i])]
        for j, n in enumerate(counts):
            if n == 0:
                cells.append(el("td"))
                continue
            share = n / support
            shade = 0.55 * share if i == j else 0.12 + 0.6 * math.sqrt(share)
            tip = f"{classes[i]} read as {classes[j]}: {n:,} of {support:,}"
            kind = "hit" if i == j else "miss"
            count = n if n < 10_000 else f"{n / 1000:.0f}k"
            cells.append(
                el("td", count, class_=kind, style=f"--a:{min(shade, 0.6):.2f}", title=tip)
            )
        rows.append(el("tr", *cells))
    style = "confusion many" if C > FEW_CLASSES else "confusion"
    caption = el("caption", "Images by true class (rows) and by what they were read as (columns)")
    table = el("table", caption, el("tbody", *rows), class_=style, style=f"--c:{C + 1}")
    sides = el("p", el("span", "true class ↓"), el("span", "read as →"), class_="axis")
    return join((sides, el("div", table, class_="wide")))
