"""What the model learned from: counts that add up, pictures of what was left out."""

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from report_samples import sample

from mnist_pipeline.data.sheet import contact_sheet
from mnist_pipeline.evaluate.data_section import MOST_REJECTS, data
from mnist_pipeline.evaluate.report_data import RejectedRow


def pixels(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image)


def images_in(page, words: str) -> list[np.ndarray]:
    """The pictures whose alternative text has these words."""
    tags = [attributes for tag, attributes in page.tags if tag == "img"]
    return [pixels(attributes["src"]) for attributes in tags if words in attributes["alt"]]


def test_counts_that_do_not_add_up_are_called_out(parse):
    full = sample(60)
    dataset = dict(full.dataset, accepted=999)
    assert "do not add up" in parse(data(dataclasses.replace(full, dataset=dataset))).text
    assert "do not add up" not in parse(data(full)).text


def test_class_balance_has_every_count_and_bars_in_proportion(parse):
    full = sample(60)
    counts = {"train": [6, *[3] * 9], "validation": [2, *[0] * 9], "exam": [2, *[1] * 9]}
    dataset = dict(full.dataset, class_counts=counts, sides={"train": 33, "validation": 2})
    page = parse(data(dataclasses.replace(full, dataset=dataset)))
    bars = [(a.get("class"), a.get("style")) for tag, a in page.tags if tag == "i"]
    assert [bar for bar in bars if bar[1] and bar[1].startswith("width")] == [
        ("side-1", "width:75.00%"),
        ("side-2", "width:25.00%"),
        *[("side-1", "width:37.50%")] * 9,
    ]


def test_averages_and_samples_are_those_of_the_training_rows(parse):
    full = sample()
    page = parse(data(full))
    averages = images_in(page, "average ")
    assert [average.shape for average in averages] == [(28, 28)] * 10
    assert all(
        np.array_equal(average.ravel(), mean)
        for average, mean in zip(averages, full.profile.mean_images, strict=True)
    )
    columns = np.bincount(full.samples[1]).max()
    (sheet,) = images_in(page, "first training rows")
    assert np.array_equal(sheet, contact_sheet(*full.samples, full.classes, columns=columns))


def test_the_spread_of_ink_is_told_in_words(parse):
    full = sample()
    text = parse(data(full)).text
    low, high = full.profile.ink_quantile(0.05), full.profile.ink_quantile(0.95)
    assert f"Nine of ten training images have {100 * low:.2f} % to {100 * high:.2f} %." in text
    assert f"{full.profile.lit.sum()} of 784 pixels are ever lit" in text


def test_a_rejected_row_is_shown_as_picture_or_as_text(parse):
    full = sample()
    page = parse(data(full))
    shown = images_in(page, "the row at")
    expected = [row.picture for row in full.rejects if row.picture is not None]
    assert all(np.array_equal(a, b) for a, b in zip(shown, expected, strict=True))
    assert "junk,row" in page.words
    (mark,) = [a["style"] for tag, a in page.tags if tag == "i" and "left" in a.get("style", "")]
    assert mark == f"left:{100 * 1.5 / 28:.2f}%;top:{100 * 2.5 / 28:.2f}%"  # pixel 57 of 28 × 28


def test_a_mark_outside_of_the_picture_is_left_out(parse):
    row = RejectedRow("a", 1, "r", "d", np.zeros((2, 3), np.uint8), 6)
    page = parse(data(dataclasses.replace(sample(60), rejects=[row])))
    assert not [a for tag, a in page.tags if tag == "i" and "left" in a.get("style", "")]


@pytest.mark.parametrize("rows", [1, 3, 5_000])
def test_what_is_not_shown_is_counted_and_located(parse, rows):
    full = sample(60)
    reject = RejectedRow("a.csv", 1, "label_missing", "x" * 10_000)
    dataset = dict(full.dataset, rejected={"label_missing": rows})
    markup = data(dataclasses.replace(full, dataset=dataset, rejects=[reject] * min(rows, 400)))
    assert markup.count("<b>a.csv:1</b>") == min(rows, MOST_REJECTS)
    assert ("24 of 5,000 are shown, 4,976 are not." in markup) == (rows == 5_000)
    assert ("are not." in markup) == (rows == 5_000)
    assert "The quarantine has them all: <code>quarantine/r1/rejected.parquet</code>" in markup
    assert len(markup) < 150_000


def test_nothing_known_is_nothing_shown():
    blank = dataclasses.replace(sample(60), dataset={}, rejects=(), profile=None, samples=None)
    assert data(blank) == ""
