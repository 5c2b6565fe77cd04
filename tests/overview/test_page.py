"""`index.html`: says how the last run ended, links every report, is safe and fits a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, measured
from overview_samples import HOSTILE, REASON, empty, history, hostile
from pages import Page

from mnist_pipeline.overview.page import INDEX, render_index, write_index
from mnist_pipeline.overview.state import State
from mnist_pipeline.store.objects import Store

Train = Callable[..., Any]


def test_the_last_run_comes_first_with_its_reason_and_its_report() -> None:
    page = Page(render_index(history()))
    header = page.text[: page.text.index("digits@8, champion")]
    assert "Held. Digits@9 is kept, and the champion stays." in header
    assert "Accuracy 98.10 % → 98.20 %; 12 of the 9,000 rows; p = 0.3." in header
    assert "/srv/workspace · 2030-01-20 03:00 UTC" in header
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    report = "models/digits/versions/{}/report.html"
    assert links == [report.format(9), *(report.format(n) for n in range(9, 0, -1))]


def test_champion_drift_and_every_kind_of_ending_are_there() -> None:
    page = Page(render_index(history()))
    assert page.headings == ["digits", "The last runs"]
    for words in ("90.80 %", "since 2030-01-08 03:04 UTC", "1,200,000", "0.31"):
        assert words in page.text
    assert "NOT what it learned from" in page.text
    for run in history().runs:
        assert run.status in page.text
    assert page.count("svg") == 1


def test_an_empty_workspace_says_what_to_do() -> None:
    page = Page(render_index(empty()))
    assert "There was no run yet; `mnist-pipeline train` makes the first version." in page.text
    assert page.headings == []


@pytest.mark.parametrize("make", [history, empty, hostile])
def test_nothing_is_loaded_or_run(make: Callable[[], State]) -> None:
    source = render_index(make())
    page = Page(source)
    assert {"script", "link", "iframe", "img"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, found in page.tags for name in found)
    assert "default-src 'none'" in source
    assert not re.search(r"(src|href)=\"?(https?:)?//", source)
    assert HOSTILE not in source
    assert source == render_index(make())


@pytest.mark.integration
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("make", [history, hostile])
def test_nothing_is_wider_than_the_screen(
    make: Callable[[], State], width: int, tmp_path: Path
) -> None:
    found = measured(render_index(make()), width, tmp_path)
    assert found["inner"] == width
    assert found["scroll"] <= found["client"]
    assert found["wide"] == []


def test_writers_at_once_leave_a_whole_page(
    train: Train, idx_folder: Path, workspace: Path
) -> None:
    train(f"idx:{idx_folder}")
    store = Store.open(workspace)
    with ThreadPoolExecutor(8) as pool:
        for written in [pool.submit(write_index, store) for _ in range(64)]:
            written.result()
    page = Page((workspace / INDEX).read_text())
    assert "Promoted. Digits@1 is the new champion." in page.text
    assert REASON not in page.text
    assert [path.name for path in workspace.glob("*.html*")] == [INDEX]
