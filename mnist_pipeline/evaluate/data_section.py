"""What the model learned from: how many rows of which class, how they look, what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mnist_pipeline.contract.records import REASONS
from mnist_pipeline.data.profile import Profile
from mnist_pipeline.data.sheet import contact_sheet
from mnist_pipeline.evaluate.charts import ink_chart
from mnist_pipeline.evaluate.markup import Html, el, join, note, part, picture, section, table
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.evaluate.report_data import Images, RejectedRow, ReportData

MOST_REJECTS, MOST_LETTERS = 24, 300
"""Rejected rows shown, and letters shown of each one's detail: the quarantine has them all."""

_SIDES = {
    "train": ("training", "what it learned from"),
    "validation": ("validation", "what it was tuned on"),
    "exam": ("exam", "what it was judged by"),
}


def data(report: ReportData) -> Html:
    """Class balance, ink, average digits, samples; then the rejected rows."""
    dataset = report.dataset
    if not dataset and not report.rejects and report.profile is None:
        return Html()
    looks = [_ink(report.profile), _averages(report.profile)] if report.profile else []
    return section(
        "What it learned from",
        _balance_sheet(report),
        el("div", _balance(report), _samples(report), class_="two"),
        el("div", _bent(report), class_="two") if report.bent is not None else "",
        el("div", *looks, class_="two") if looks else "",
        _rejects(report),
    )


def _balance_sheet(report: ReportData) -> Html:
    """Rows in = rows accepted + rows rejected."""
    if not report.dataset:
        return Html()
    rejected = sum((report.dataset.get("rejected") or {}).values())
    rows, accepted = report.dataset.get("rows", 0), report.dataset.get("accepted", 0)
    words = f"{rows:,} rows came in: {accepted:,} accepted, {rejected:,} rejected."
    if rows != accepted + rejected:
        words += " These counts do not add up."
    return note(words)


def _balance(report: ReportData) -> Html:
    sides: Mapping[str, int] = report.dataset.get("sides") or {}
    if not sides:
        return Html()
    counts: Mapping[str, Sequence[int]] = report.dataset.get("class_counts") or {}
    names = [_SIDES.get(side, (side, ""))[0] for side in sides]
    head = [el("span", el("i", class_=f"swatch side-{i}"), name) for i, name in enumerate(names, 1)]
    by_class = [
        [counts[side][k] if side in counts else 0 for side in sides]
        for k in range(len(report.classes) if counts else 0)
    ]
    most = max((sum(row) for row in by_class), default=0) or 1
    rows = [
        (name, _bar(row, most), *(f"{n:,}" for n in row))
        for name, row in zip(report.classes, by_class, strict=False)
    ]
    total = ("all", "", *(el("b", f"{n:,}") for n in sides.values()))
    meaning = "; ".join(f"{_SIDES[side][0]}: {_SIDES[side][1]}" for side in sides if side in _SIDES)
    return part(
        "Class balance",
        note(meaning[:1].upper() + meaning[1:] + ".") if meaning else "",
        table(
            ("class", "", *head), [*rows, total], "list balance", caption="Rows by class and use"
        ),
    )


def _bar(row: Sequence[int], most: int) -> Html:
    """A stacked bar; the numbers stand beside it, so it is not read aloud."""
    pieces = (
        el("i", class_=f"side-{i}", style=f"width:{100 * n / most:.2f}%")
        for i, n in enumerate(row, 1)
        if n
    )
    return el("span", *pieces, class_="stack", aria_hidden="true")


def _samples(report: ReportData) -> Html:
    if report.samples is None:
        return Html()
    words = "The first training rows of each class, one class a row"
    return part(
        "Samples", note(f"{words}, as they came."), _sheet(report, report.samples[0], words)
    )


def _bent(report: ReportData) -> Html:
    if report.samples is None or report.bent is None:
        return Html()
    words = "The samples as the network may have seen them"
    return part(
        "Augmentation", note(f"{words}, bent anew each time."), _sheet(report, report.bent, words)
    )


def _sheet(report: ReportData, images: Images, words: str) -> Html:
    assert report.samples is not None
    labels = report.samples[1]
    sheet = contact_sheet(
        images.reshape(-1, report.height, report.width),
        labels,
        report.classes,
        columns=int(np.bincount(labels, minlength=1).max()),
    )
    return el("div", picture(sheet, f"{words}: {', '.join(report.classes)}"), class_="sheet")


def _ink(profile: Profile) -> Html:
    low, median, high = (profile.ink_quantile(share) for share in (0.05, 0.5, 0.95))
    if low is None or median is None or high is None:
        return Html()
    lit = int(profile.lit.sum())
    row, column = profile.spread
    words = (
        f"The ink of an image is its mean pixel: 0 % is blank, 100 % is full. Nine of ten training "
        f"images have {percent(low)} to {percent(high)}. {lit:,} of {len(profile.lit):,} pixels "
        f"are ever lit; centres of mass vary by {column:.2f} pixels across, {row:.2f} down (σ)."
    )
    summary = f"Training images by ink, median {percent(median)}"
    chart = ink_chart(profile.ink.sum(axis=0).tolist(), median, summary)
    return part("Ink", note(words), chart)


def _averages(profile: Profile) -> Html:
    figures = []
    for label, (name, n) in enumerate(zip(profile.classes, profile.class_counts, strict=True)):
        image = profile.mean_images[label].reshape(profile.height, profile.width)
        median = profile.ink_quantile(0.5, label)
        ink = "–" if median is None else f"{100 * median:.1f} %"
        caption = el("figcaption", name, el("small", ink))
        figures.append(el("figure", picture(image, f"average {name} of {n:,} images"), caption))
    return part(
        "The average digit",
        note("Every training image of a class laid over each other, and the class's median ink."),
        el("div", *figures, class_="digits averages"),
    )


def _rejects(report: ReportData) -> Html:
    rejected = {code: n for code, n in (report.dataset.get("rejected") or {}).items() if n}
    if not rejected and not report.rejects:
        return Html()
    reasons = [
        (el("code", code), f"{rejected[code]:,}", REASONS.get(code, ""))
        for code in sorted(rejected)
    ]
    cards = [_reject(row) for row in report.rejects[:MOST_REJECTS]]
    total = max(sum(rejected.values()), len(report.rejects))
    hidden = total - len(cards)
    words = f"{len(cards):,} of {total:,} are shown, {hidden:,} are not." if hidden else ""
    where = join(
        ("The quarantine has them all: ", el("code", report.quarantine), ", in the workspace.")
    )
    return part(
        "Rejected rows",
        table(("reason", "rows", "meaning"), reasons, "list words", caption="Rejected by reason")
        if reasons
        else "",
        note(words, " " if words else "", where if report.quarantine else ""),
        el("ul", *cards, class_="rejects") if cards else "",
    )


def _reject(row: RejectedRow) -> Html:
    """A card: what can be seen of a row, where it stands, what is wrong with it."""
    if row.picture is None:
        shown = el("div", row.beginning or "no bytes", class_="raw")
    else:
        height, width = row.picture.shape
        mark: object = ""
        if row.pixel is not None and row.pixel < height * width:
            down, across = divmod(row.pixel, width)
            left, top = 100 * (across + 0.5) / width, 100 * (down + 0.5) / height
            mark = el("i", style=f"left:{left:.2f}%;top:{top:.2f}%")
        alt = f"the row at {row.source}:{row.place}, as far as it can be read"
        shown = el("div", picture(row.picture, alt), mark, class_="shot")
    detail = row.detail if len(row.detail) <= MOST_LETTERS else row.detail[:MOST_LETTERS] + " …"
    words = el("div", el("b", f"{row.source}:{row.place}"), el("code", row.reason), el("p", detail))
    return el("li", shown, words)
