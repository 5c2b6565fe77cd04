"""The report of one version: a single HTML file that needs neither network nor scripts."""

from __future__ import annotations

from mnist_pipeline.evaluate.charts import learning_figures
from mnist_pipeline.evaluate.data_section import data as data_section
from mnist_pipeline.evaluate.error_sections import errors
from mnist_pipeline.evaluate.markup import Html, el, join, part, section
from mnist_pipeline.evaluate.page import page
from mnist_pipeline.evaluate.report_data import ReportData
from mnist_pipeline.evaluate.verdict_section import head, name_of, verdict


def render(data: ReportData) -> str:
    """The report as one HTML page; the same data always gives the same bytes.

    The order is that of a reader's questions: what happened and why, how it errs, how it learned,
    what from, and where all of that comes from.
    """
    figures = learning_figures(data.history)
    sections = (
        errors(data),
        section("How it learned", el("div", figures, class_="three")) if figures else "",
        data_section(data),
        _origin(data),
    )
    title = f"{name_of(data)}: {verdict(data.status)[1].lower()}"
    return page(title, join((head(data), el("main", *sections))))


def _origin(data: ReportData) -> Html:
    facts = [
        el(tag, word)
        for name, value in data.lineage.items()
        for tag, word in (("dt", name), ("dd", el("code", value)))
    ]
    config = data.config_toml.strip("\n")
    if not facts and not config:
        return Html()
    return section(
        "Where it comes from",
        part("Lineage", el("dl", *facts, class_="facts")) if facts else "",
        part("Configuration", el("pre", config)) if config else "",
    )
