"""The report as a whole: complete, self-contained, deterministic, proof against hostile words."""

import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from report_samples import HOSTILE, hostile, sample

from mnist_pipeline.evaluate.error_sections import MOST_CLASSES
from mnist_pipeline.evaluate.metrics import measure
from mnist_pipeline.evaluate.report import render
from mnist_pipeline.evaluate.report_data import RejectedRow, ReportData

# ------------------------------------------------------------------------------------- the page


def test_every_section_is_there_and_well_formed(parse):
    data = sample()
    page = parse(render(data))
    assert page.headings == [
        "How it errs",
        "What it takes for what",
        "Class by class",
        "Most confident mistakes",
        "Does it know when it is wrong?",
        "How it learned",
        "What it learned from",
        "Class balance",
        "Samples",
        "Ink",
        "The average digit",
        "Rejected rows",
        "Where it comes from",
        "Lineage",
        "Configuration",
    ]
    # mistakes, one sheet, an average a class, two rejects of which there are pictures
    assert page.count("img") == len(data.mistakes) + 1 + 10 + 2
    assert page.count("svg") == 6
    for words in (
        "Promoted.",
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
    assert page.headings == ["How it errs"]
    assert "Blocked" in page.text
    assert "nan" not in page.text.lower()
    assert "None" not in page.text


def test_a_title_says_the_verdict(parse):
    assert "<title>digits@4: held</title>" in render(dataclasses.replace(sample(60), status="hold"))


def test_everything_can_be_heard(parse):
    """Pictures have words, tables names, columns and rows headers, figures summaries."""
    page = parse(render(sample()))
    assert ("html", {"lang": "en"}) in page.tags
    for tag, attributes in page.tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    assert page.count("table") == page.count("caption") == 4
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


# --------------------------------------------------------------------------- safe and contained


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
    # title, head, reasons, side, class names in three tables, rejects by reason, lineage …
    assert page.text.count(HOSTILE) > 50
    assert page.count("img") == len(sample().mistakes) + 1 + 10 + 1
    titles = [a["title"] for tag, a in page.tags if tag == "th" and "title" in a]
    assert titles == [HOSTILE] * 20


def test_text_of_any_kind_can_be_written_to_a_file(parse):
    reject = RejectedRow("\ud800.csv", 1, "r", "\x00\x1b[31m\x7f")
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
from report_samples import sample
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


def test_the_largest_report_stays_below_two_megabytes():
    data = sample(20_000, MOST_CLASSES)
    noise = np.random.default_rng(1).integers(0, 256, (84, 84), dtype=np.uint8)
    reject = RejectedRow("a.csv", 1, "label_missing", "x" * 10_000, noise, 7)
    history = [{"step": i, "loss": 1 / (i + 1)} for i in range(20_000)]
    rows = np.random.default_rng(2).integers(0, 256, (MOST_CLASSES * 12, 784), dtype=np.uint8)
    samples = (rows, (np.arange(len(rows)) % MOST_CLASSES).astype(np.uint8))
    page = render(
        dataclasses.replace(data, rejects=[reject] * 500, history=history, samples=samples)
    )
    assert "confusion many" in page
    assert len(page.encode()) < 2_000_000
