"""The page of a run that was held before training: what is new, and where the champion objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.evaluate.markup import (
    Html,
    el,
    join,
    note,
    picture,
    section,
    table,
)
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.evaluate.page import page
from mnist_pipeline.evaluate.verdict_section import reason_list

INSPECTION = "inspection.html"
PICTURES_A_FILE = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Objection:
    """A row that the champion reads otherwise than it is labelled.

    Attributes:
        image: (height, width) uint8.
        label, predicted: names of classes.
        confidence: how probable the champion holds its reading to be.
    """

    image: NDArray[np.uint8]
    label: str
    predicted: str
    confidence: float


@dataclasses.dataclass(frozen=True)
class NewFile:
    """One line of the page: a file that is new.

    Attributes:
        name: what it is called.
        rows: how many rows it has.
        rejected: how many of them were rejected, by reason.
        differ: the share of the others that the champion reads otherwise; None if there are none.
        objections: those about which it is most sure.
    """

    name: str
    rows: int
    rejected: Mapping[str, int]
    differ: float | None
    objections: Sequence[Objection]


def how_to_accept(model: str) -> str:
    """The command that lets held data through."""
    return f"mnist-pipeline data accept --name {model} --reason …"


def render_inspection(
    model: str, champion: str, files: Sequence[NewFile], reasons: Sequence[str]
) -> str:
    """The page; the same run gives the same bytes."""
    sentence = f"Its new data must be looked at before it is learned from; {champion} stays."
    head = el(
        "header",
        el("p", model, class_="eyebrow"),
        el("h1", el("b", "Held before training."), " ", sentence),
        reason_list(reasons),
        note("To learn from it all the same: ", el("code", how_to_accept(model))),
        class_="verdict held",
    )
    body = join((head, el("main", _files(files), *map(_objections, files))))
    return page(f"{model}: held before training", body)


def _files(files: Sequence[NewFile]) -> Html:
    rows = []
    for file in files:
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in file.rejected.items())
        rows.append((file.name, f"{file.rows:,}", rejected or "none", percent(file.differ)))
    return section(
        "What is new",
        table(
            ("file", "rows", "rejected", "read otherwise by the champion"),
            rows,
            caption="New files, their rows, and how many the champion reads otherwise",
        ),
    )


def _objections(file: NewFile) -> Html:
    if not file.objections:
        return Html()
    figures = []
    for objection in file.objections:
        label, predicted = objection.label, objection.predicted
        shown = picture(objection.image, f"labelled {label}, read as {predicted}")
        small = el("small", percent(objection.confidence))
        figures.append(el("figure", shown, el("figcaption", f"{label} → {predicted}", small)))
    return section(
        file.name,
        note("Label → what the champion reads, and how sure it is; the surest first."),
        el("div", *figures, class_="digits"),
    )
