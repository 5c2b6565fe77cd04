"""The report's looks: legible in both themes, and no wider than a phone in a real browser."""

from __future__ import annotations

import dataclasses
import importlib.resources
import re
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, measured
from report_samples import hostile, sample

from mnist_pipeline.evaluate.report import render
from mnist_pipeline.evaluate.report_data import RejectedRow, ReportData

CSS = importlib.resources.files("mnist_pipeline.evaluate").joinpath("report.css").read_text()


def theme(number: int) -> dict[str, np.ndarray]:
    """The colours of the light (0) or the dark (1) theme, by name: (3,) in [0, 1]."""
    block = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[number]
    colours = {
        name: [int(value[i : i + 2], 16) for i in (0, 2, 4)]
        for name, value in re.findall(r"--([a-z0-9-]+): #([0-9a-f]{6})", block)
    }
    colours |= {
        name: [int(part) for part in values.split()]
        for name, values in re.findall(r"--([a-z]+): (\d+ \d+ \d+)", block)
    }
    return {name: np.array(value) / 255 for name, value in colours.items()}


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """(L₁ + 0.05) / (L₂ + 0.05) of relative luminances, WCAG 2.2."""

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_every_word_stands_out_from_its_ground(number):
    colours = theme(number)
    for words in ("ink", "muted", "promoted", "held", "blocked", "neutral"):
        for ground in ("paper", "wash"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)
    for shade in ("good", "bad"):  # cells of the matrix, at their strongest
        cell = 0.6 * colours[shade] + 0.4 * colours["wash"]
        assert contrast(colours["ink"], cell) >= 4.5, shade
    for line in ("series-1", "series-2", "series-3"):  # graphics need 3
        assert contrast(colours[line], colours["paper"]) >= 3, line


def long_words() -> ReportData:
    """Nothing in it can be broken but by force; more classes than fit side by side."""
    long = "w" * 200
    data = sample(4_000, 64)
    reject = RejectedRow(long, 1, long, long, beginning=long)
    return dataclasses.replace(
        data,
        model=long,
        champion_name=long,
        status=long,
        reasons=(f"{long}: {long}", long),
        classes=(long,) * 64,
        transfer={"name": long, "accuracy": 0.5, "n": 10**12},
        drawn="all",
        profile=dataclasses.replace(data.profile, classes=(long,) * 64),
        dataset=dict(data.dataset, rejected={long: 10**9}, rows=10**12),
        rejects=[reject, dataclasses.replace(reject, picture=np.zeros((9, 84), np.uint8))],
        quarantine=long,
        lineage={long: long},
        config_toml=long,
    )


@pytest.mark.integration
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("make", [sample, hostile, long_words])
def test_nothing_is_wider_than_the_screen(make, width: int, tmp_path: Path) -> None:
    found = measured(render(make()), width, tmp_path)
    assert found["inner"] == width
    assert found["scroll"] <= found["client"]
    assert found["wide"] == []
    assert found["height"] > 2000


@pytest.mark.integration
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_page_follows_the_theme(tmp_path: Path) -> None:
    page = render(sample())
    grounds = [measured(page, 390, tmp_path, scheme)["ground"] for scheme in (1, 0)]
    expected = [np.rint(255 * theme(number)["paper"]).astype(int) for number in (0, 1)]
    assert grounds == [f"rgb({r}, {g}, {b})" for r, g, b in expected]
