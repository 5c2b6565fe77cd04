"""`index.html`: the one page to look at in the morning."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from mnist_pipeline.data.drift import ALARM
from mnist_pipeline.evaluate.charts import line_chart
from mnist_pipeline.evaluate.markup import Html, el, join, note, section, table
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.evaluate.page import page
from mnist_pipeline.overview.state import ModelState, State, state_of
from mnist_pipeline.store.endings import Ending
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import VersionInfo

INDEX = "index.html"

_TONE = {
    "champion": "promoted",
    "promoted": "promoted",
    "held": "held",
    "blocked": "blocked",
    "failed": "blocked",
    "killed": "blocked",
    "damaged": "blocked",
}
_SENTENCE = {
    "promoted": "{version} is the new champion.",
    "held": "{version} is kept, and the champion stays.",
    "blocked": "{version} is below what every version must reach; the champion stays.",
    "unchanged": "nothing new for {model}; the verdict on {version} stands.",
    "failed": "the last run of {model} could not go on; what was published stays as it was.",
    "interrupted": "somebody stopped the last run of {model}; the next one goes on where it was.",
    "killed": "the last run of {model} did not live to its end; the next one goes on where it was.",
    "at work": "a run of {model} goes on.",
    "not ended": "the last run has left no word of its end: it goes on, or it was killed.",
}


def write_index(store: Store) -> None:
    """Writes the page anew. It is derived: of two writers the last one wins, and both are right.

    Raises:
        PipelineError: the store cannot be read or written.
    """
    store.put(INDEX, render_index(state_of(store)).encode())


def render_index(state: State) -> str:
    """The page; the same state always gives the same bytes."""
    words = [run.model or "a run" for run in state.runs[:1]] + [
        run.status for run in state.runs[:1]
    ]
    models = [_model(model) for model in state.models]
    body = join((_head(state), el("main", *models, _runs(state.runs))))
    return page(": ".join(words) or "no run yet", body)


def _head(state: State) -> Html:
    """How the last run ended."""
    if not state.runs:
        words = "there was no run yet; `mnist-pipeline train` makes the first version."
        run = Ending("", None, "quiet")
    else:
        run = state.runs[0]
        model = run.model or "a model"
        version = f"{model}@{run.version}" if run.version else model
        words = _SENTENCE.get(run.status, "").format(model=model, version=version)
    reasons = [el("li", *_reason(reason)) for reason in run.reasons]
    if run.error and run.error.get("remedy"):
        reasons.append(el("li", f"→ {run.error['remedy']}"))
    return el(
        "header",
        el("p", state.workspace, f" · {_when(run.began)}" if run.run else "", class_="eyebrow"),
        el("h1", el("b", f"{run.status.capitalize()}."), " ", words[:1].upper() + words[1:]),
        el("ul", *reasons, class_="reasons") if reasons else "",
        el("p", _link(run.report, "The whole report"), class_="more") if run.report else "",
        class_=f"verdict {_TONE.get(run.status, 'neutral')}",
    )


def _reason(reason: str) -> tuple[object, ...]:
    code, separator, sentence = reason.partition(": ")
    if not separator or " " in code:
        return (reason,)
    return f"{sentence[:1].upper()}{sentence[1:]}.", " ", el("code", code)


def _model(model: ModelState) -> Html:
    """The champion in one number, how it got there, and the versions."""
    if model.damage:
        return section(model.name, note(f"Damaged: {model.damage}."))
    champion, chart = model.champion, _chart(model)
    number = el(
        "p",
        el("strong", percent(champion.accuracy if champion else None)),
        el("span", f"{model.name}@{champion.version}, champion" if champion else "no champion yet"),
        el("span", f"since {_when(model.reign['since'])}") if champion else "",
        class_="number",
    )
    return section(
        model.name,
        el(
            "div",
            el("div", number, chart, class_="figures"),
            el("dl", *_tiles(model), class_="tiles"),
        ),
        _versions(model.versions),
    )


def _chart(model: ModelState) -> Html:
    told = [
        (float(row.version), row.accuracy)
        for row in reversed(model.versions)
        if row.accuracy is not None
    ]
    if len(told) < 2:
        return Html()
    last = percent(told[-1][1])
    chart = line_chart(
        [told],
        f"Exam accuracy by version, {last} for the newest",
        x_title="version",
        y_unit="%",
    )
    return el("figure", el("figcaption", "Accuracy in the exam"), chart)


def _tiles(model: ModelState) -> list[Html]:
    tiles: list[tuple[str, str, str]] = []
    if model.versions:
        newest = model.versions[0]
        words = f"{newest.status}, {_when(newest.created)}"
        tiles.append(("Newest version", str(newest.version), words))
    if model.champion:
        by = str(model.reign["by"])
        gate = by == "gate"
        words = "by the exam" if gate else str(model.reign["reason"])
        tiles.append(("Promoted by", "the gate" if gate else by, words))
    if model.scoring:
        words = f"rows, with version {model.scoring['version']}, {_when(model.scoring['finished'])}"
        tiles.append(("Last scored", f"{model.scoring['rows']:,}", words))
        if drift := model.scoring.get("drift"):
            far = drift["score"] >= ALARM
            words = "NOT what it learned from" if far else f"alarms from {ALARM} on"
            tiles.append(("Drift", f"{drift['score']:.2f}", words))
    return [
        el("div", el("dt", name), el("dd", value), el("dd", line)) for name, value, line in tiles
    ]


def _versions(versions: Sequence[VersionInfo]) -> Html:
    rows = [
        (
            _link(f"models/{row.name}/versions/{row.version}/report.html", f"{row.version}"),
            _status("champion" if row.channels else row.status),
            percent(row.accuracy),
            _minute(row.created),
        )
        for row in versions
    ]
    head = ("Version", "Verdict", "Accuracy", "Made, UTC")
    return el("div", table(head, rows, "list states", caption="Versions"), class_="wide")


def _runs(runs: Sequence[Ending]) -> Html:
    rows = [
        (
            _minute(run.began),
            _status(run.status),
            f"{run.model}@{run.version}" if run.version else run.model or "–",
            _reason(run.why)[0],
        )
        for run in runs
    ]
    if not rows:
        return Html()
    head = ("Began, UTC", "Ended", "Model", "Why")
    return section(
        "The last runs",
        el("div", table(head, rows, "list states why", caption="The last runs"), class_="wide"),
    )


def _status(status: str) -> Html:
    return el("b", status, class_=f"tone {_TONE.get(status, 'neutral')}")


def _link(key: str, words: str) -> Html:
    return el("a", words, href=quote(key))


def _minute(moment: str) -> str:
    """`2026-11-23 04:30` of an ISO 8601 moment."""
    return f"{moment[:10]} {moment[11:16]}" if moment else "–"


def _when(moment: str) -> str:
    return f"{_minute(moment)} UTC" if moment else "–"
