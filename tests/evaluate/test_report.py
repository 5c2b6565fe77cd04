"""The report: complete, self-contained, deterministic, and proof against hostile words."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnist_pipeline.evaluate.metrics import measure, mistakes
from mnist_pipeline.evaluate.report import MOST_CLASSES, MOST_REJECTS, ReportData, render

HOSTILE = "</script></style></title><img src=x onerror=alert(1)>\"' onload='alert(2)' &amp;"


def sample(n: int = 400, C: int = 10, seed: int = 5) -> ReportData:
    """A full report over made-up answers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, C, n)
    logits = rng.normal(0, 1.5, (n, C))
    logits[np.arange(n), labels] += 4
    weights = np.exp(logits)
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    classes = tuple(str(i) for i in range(C))
    images = rng.integers(0, 256, (n, 784), dtype=np.uint8)
    metrics = measure(labels, probabilities, classes)
    counts = [int(count) for count in np.bincount(labels, minlength=C)]
    return ReportData(
        model="digits",
        version=4,
        status="promoted",
        reasons=("better_than_champion: it is", "above_floors: they are"),
        metrics=metrics,
        classes=classes,
        history=[
            {
                "step": 100 * e,
                "epoch": e,
                "loss": 2.0 / e,
                "validation_accuracy": 1 - 0.2 / e,
                "validation_loss": 2.5 / e,
                "learning_rate": 1e-3 / e,
            }
            for e in range(1, 13)
        ],
        mistakes=[
            (images[m.row], m.label, m.predicted, m.confidence)
            for m in mistakes(labels, probabilities)
        ],
        dataset={
            "rows": 1003,
            "accepted": 1000,
            "rejected": {"label_missing": 2, "pixel_out_of_range": 1},
            "sides": {"train": 500, "validation": 100, "exam": n},
            "class_counts": {"train": counts, "validation": counts, "exam": counts},
        },
        rejects=[
            {"source": "a.csv", "place": 17, "reason": "label_missing", "detail": "column label"}
        ],
        lineage={"dataset": "d" * 64, "seed": "5"},
        config_toml='name = "digits"\n\n[train]\nepochs = 12\n',
        champion=metrics,
    )


# ------------------------------------------------------------------------------------- the page


def test_every_section_is_there_and_well_formed(parse):
    data = sample()
    page = parse(render(data))
    assert page.headings == [
        "Learning",
        "Confusion",
        "Reliability",
        "Most confident mistakes",
        "Classes",
        "Rows",
        "Rejected rows",
        "Lineage",
        "Configuration",
    ]
    assert page.count("img") == len(data.mistakes) > 10
    assert page.count("svg") == 4
    for words in (
        "Promoted",
        f"{100 * data.metrics.accuracy:.2f} %",
        f"{data.metrics.log_loss:.4f}",
        f"{100 * data.metrics.ece:.2f} %",
        "1,003 rows came in: 1,000 accepted, 3 rejected.",
        "the row has no label",
        "a.csv:17",
        "d" * 64,
        "epochs = 12",
    ):
        assert words in page.text


def test_an_empty_report_shows_a_verdict_and_nothing_it_does_not_know(parse):
    empty = measure(np.zeros(0, int), np.zeros((0, 2), np.float32), "ab")
    data = ReportData("digits", None, "blocked", ("exam_empty: no rows",), empty, ("a", "b"))
    page = parse(render(data))
    assert page.headings == ["Errors"]
    assert "Blocked" in page.text
    assert "nan" not in page.text.lower()
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("status", "style", "word"),
    [
        ("promote", "promoted", "Promoted"),
        ("held", "held", "Held"),
        ("block", "blocked", "Blocked"),
        ("unchanged", "unchanged", "Unchanged"),
    ],
)
def test_the_verdict_is_in_the_title_and_on_the_badge(parse, status, style, word):
    page = parse(render(dataclasses.replace(sample(60), status=status)))
    assert ("div", {"class": f"badge {style}"}) in page.tags
    assert f"digits 4: {word.lower()}" in page.text
    assert word in page.words


def test_reasons_stand_in_their_order_with_their_codes(parse):
    text = parse(render(sample(60))).text
    assert text.index("It is. better_than_champion") < text.index("They are. above_floors")


def test_a_recall_that_changed_against_the_champion_is_shown_with_its_sign(parse):
    data = sample()
    worse = [
        dataclasses.replace(entry, recall=entry.recall + (0.01 if i == 0 else -0.02))
        for i, entry in enumerate(data.metrics.per_class)
    ]
    champion = dataclasses.replace(data.metrics, per_class=tuple(worse))
    page = parse(render(dataclasses.replace(data, champion=champion)))
    assert page.words.count("-1.00") == 1
    assert page.words.count("+2.00") == 9
    styles = [attributes.get("class") for tag, attributes in page.tags if tag == "small"]
    assert (styles.count("worse"), styles.count("better")) == (1, 9)
    assert "champion" not in parse(
        render(dataclasses.replace(data, champion=None))
    ).text.lower().replace("better_than_champion", "")


def test_counts_that_do_not_add_up_are_called_out(parse):
    data = sample(60)
    dataset = dict(data.dataset, accepted=999)
    assert "do not add up" in parse(render(dataclasses.replace(data, dataset=dataset))).text
    assert "do not add up" not in parse(render(data)).text


def test_rejects_are_bounded_and_the_page_says_so():
    reject = {"source": "a.csv", "place": 1, "reason": "label_missing", "detail": "x" * 10_000}
    markup = render(dataclasses.replace(sample(60), rejects=[reject] * 5_000))
    assert f"{MOST_REJECTS} of 5,000; the quarantine has them all." in markup
    assert markup.count("a.csv:1") == MOST_REJECTS
    assert len(markup) < 100_000


# --------------------------------------------------------------------------- safe and contained


def hostile() -> ReportData:
    return dataclasses.replace(
        sample(),
        model=HOSTILE,
        status=HOSTILE,
        reasons=(HOSTILE, f"code: {HOSTILE}"),
        classes=(HOSTILE,) * 10,
        dataset={
            "rows": 1,
            "accepted": 0,
            "rejected": {HOSTILE: 1},
            "sides": {HOSTILE: 7},
            "class_counts": {HOSTILE: [1] * 10},
        },
        rejects=[{"source": HOSTILE, "place": HOSTILE, "reason": HOSTILE, "detail": HOSTILE}],
        lineage={HOSTILE: HOSTILE},
        config_toml=HOSTILE,
    )


@pytest.mark.parametrize("make", [sample, hostile])
def test_nothing_is_loaded_or_run(parse, make):
    page = parse(render(make()))
    assert page.count("script") == page.count("link") == page.count("iframe") == 0
    assert page.count("style") == page.count("title") - page.count("rect") == 1
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "href" not in attributes
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
    policy = next(a for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")
    style = re.search(r"<style>(.*?)</style>", render(make()), re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_words_are_shown_as_they_are(parse):
    page = parse(render(hostile()))
    # title, h1, badge, two reasons, side, class names in two tables, rejects by reason, lineage …
    assert page.text.count(HOSTILE) > 30
    assert page.count("img") == len(sample().mistakes)
    titles = [a["title"] for tag, a in page.tags if tag == "th" and "title" in a]
    assert titles == [HOSTILE] * 20


def test_text_of_any_kind_can_be_written_to_a_file(parse):
    reject = {"source": "\ud800.csv", "place": 1, "reason": "r", "detail": "\x00\x1b[31m\x7f"}
    markup = render(dataclasses.replace(sample(60), rejects=[reject]))
    text = parse(markup.encode("utf-8").decode("utf-8")).text
    assert "\\ud800.csv:1" in text
    assert "␀␛[31m␡" in text


# --------------------------------------------------------------- the same bytes, quickly, small

RENDER_TWICE = """
import hashlib, json, sys, time
sys.path.insert(0, sys.argv[1])
before = time.process_time()
from mnist_pipeline.evaluate.report import render
imported = time.process_time() - before
from test_report import sample
data = sample()
before = time.process_time()
page = render(data)
seconds = imported + time.process_time() - before
digest = hashlib.sha256(page.encode()).hexdigest()
print(json.dumps({"digest": digest, "again": render(data) == page, "seconds": seconds,
                  "matplotlib": "matplotlib" in sys.modules}))
"""


def test_the_same_data_gives_the_same_bytes_in_any_process_and_quickly():
    runs = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", RENDER_TWICE, str(Path(__file__).parent)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        runs.append(json.loads(done.stdout))
    assert runs[0]["digest"] == runs[1]["digest"]
    assert runs[0]["again"]
    assert not runs[0]["matplotlib"]
    assert min(run["seconds"] for run in runs) < 1.5  # CPU, imports included


def test_the_largest_report_stays_below_half_a_megabyte():
    data = sample(20_000, MOST_CLASSES)
    reject = {"source": "a.csv", "place": 1, "reason": "label_missing", "detail": "x" * 10_000}
    history = [{"step": i, "loss": 1 / (i + 1)} for i in range(20_000)]
    page = render(dataclasses.replace(data, rejects=[reject] * 500, history=history))
    assert "confusion many" in page
    assert len(page.encode()) < 500_000


def test_more_classes_than_a_matrix_can_show_leave_their_worst_pairs():
    data = sample(4_000, MOST_CLASSES + 1)
    markup = render(data)
    assert 'class="confusion' not in markup
    assert "Most often " in markup
    worst = max(
        n for i, row in enumerate(data.metrics.confusion) for j, n in enumerate(row) if i != j
    )
    assert re.search(rf"Most often \d+ read as \d+, {worst} of ", markup)
