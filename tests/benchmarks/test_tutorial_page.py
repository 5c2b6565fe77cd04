"""docs/tutorial.md says what bench_tutorial.py measures, and its commands are real."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench_tutorial import CHOICES, DESKEW, IMPROVEMENTS, Digits, Row, measure, replaced, table
from tutorial_curves import curves

from mnist_pipeline.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
PICTURE = PAGE.with_suffix(".svg")
SPREAD = re.compile(r"\d{2}\.\d{2} ± \d+\.\d{2}")


def measured_rows(name: str) -> list[list[str]]:
    """The cells of the rows of one table of the page."""
    text = PAGE.read_text(encoding="utf-8")
    part = text.split(f"<!-- measured: {name} -->\n")[1].split("<!-- end -->")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("name", "rows", "accuracies"),
    [("improvements", IMPROVEMENTS, 2), ("deskew", DESKEW, 1)],
    ids=["improvements", "deskew"],
)
def test_the_tables_have_the_rows_of_the_benchmark(
    name: str, rows: tuple[Row, ...], accuracies: int
) -> None:
    cells = measured_rows(name)
    named = [(row.label, " ".join(f"`{key}`" for key in row.settings)) for row in rows]
    assert [(label, settings) for label, settings, *_ in cells] == named
    for _, _, seconds, *values in cells:
        assert float(seconds) > 0
        assert len(values) == accuracies
        assert all(SPREAD.fullmatch(value) for value in values)


@pytest.mark.parametrize("row", [*IMPROVEMENTS, *DESKEW], ids=lambda row: row.label)
def test_a_row_is_what_its_options_train(
    row: Row, capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    given = ["--workspace", str(workspace), "train", *row.words, "--show-config", "--json"]
    assert main(given) == 0
    assert json.loads(capsys.readouterr().out) == row.config().to_json()


def test_a_row_changes_the_preset_and_no_two_are_the_same() -> None:
    configurations = [json.dumps(row.config().to_json()) for row in (*IMPROVEMENTS, *DESKEW)]
    assert len(set(configurations)) == len(configurations)
    tried = {row.settings for row in CHOICES}
    assert len(tried) == len(CHOICES)
    for row in IMPROVEMENTS:  # every value that stands in the table was chosen from some
        settings = {key for key in row.settings if not key.startswith("model.init")}
        assert not settings or any(settings <= set(choice) for choice in tried), row.label


def test_the_commands_on_the_page_are_real(
    capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    commands = "".join(blocks).replace("\\\n", " ").splitlines()
    trainings = [shlex.split(line, comments=True) for line in commands if "train " in line]
    assert trainings
    for program, *words in trainings:
        assert program == "mnist-pipeline"
        assert main([*words, "--show-config", "--workspace", str(workspace)]) == 0
        assert capsys.readouterr().out
    for script in re.findall(r"python (\S+\.py)", "".join(blocks)):
        assert (PAGE.parents[1] / script).is_file()


def test_the_picture_shows_the_curves_that_it_names() -> None:
    texts = {element.text for element in ElementTree.parse(PICTURE).iter() if element.text}
    assert {row.curve for row in IMPROVEMENTS if row.curve} <= texts
    assert PICTURE.name in PAGE.read_text(encoding="utf-8")


def test_a_curve_is_the_mean_of_its_trainings() -> None:
    runs = [
        [{"step": 0, "validation_accuracy": a}, {"step": 100, "validation_accuracy": b}]
        for a, b in ((0.5, 0.9), (0.7, 1.0))
    ]
    picture = ElementTree.fromstring(curves({"a < b": runs, "low": [runs[0]]}))
    first, second = (element.get("d") for element in picture.iter() if element.tag.endswith("path"))
    # 60 % and 95 %, between 40 % at the bottom (356) and 100 % at the top (24).
    assert first == "M48.0,245.3 560.0,51.7"
    assert second is not None
    assert second != first
    assert "a < b" in {element.text for element in picture.iter()}


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = "a\n<!-- measured: x -->\nold\n<!-- end -->\n<!-- measured: y -->\nz\n<!-- end -->\n"
    assert replaced(page, "x", "new\\1\n") == page.replace("old", "new\\1")
    empty = replaced(page, "y", "")
    assert empty == page.replace("z\n", "")
    assert replaced(empty, "y", "z\n") == page
    with pytest.raises(ValueError, match="measured: z"):
        replaced(page, "z", "")


@pytest.mark.slow
@pytest.mark.integration
def test_a_row_measures_what_its_command_says(
    capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    if "MNIST_DATA_DIR" not in os.environ:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's IDX files")
    row, short = IMPROVEMENTS[2], "train.iterations=20"
    words = ["train", *row.words, "--set", short, "--seed", "1", "--no-exam", "--engine", "plain"]
    assert main([*words, "--workspace", str(workspace), "--json", "--quiet"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    digits = Digits.read(workspace)
    one, other = measure(row, digits, 1, short), measure(row, digits, 0, short)
    assert one.validation == 100 * metrics["accuracy"]
    line = table({row: [one, other]}, test=True).splitlines()[-1]
    mean = (one.validation + other.validation) / 2
    assert f"| {mean:.2f} ± {abs(one.validation - other.validation) / 2**0.5:.2f} |" in line
