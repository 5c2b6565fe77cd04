"""The head of the report: the right sentence for every verdict, the number, the comparison."""

import dataclasses

import numpy as np
import pytest
from report_samples import sample

from mnist_pipeline.evaluate.metrics import measure
from mnist_pipeline.evaluate.verdict_section import head, summary


def judged(right: int, n: int = 1000):
    """Metrics of `right` of `n` two-class rows."""
    labels = np.zeros(n, int)
    probabilities = np.full((n, 2), 0.1, np.float32)
    probabilities[:right, 0] = probabilities[right:, 1] = 0.9
    return measure(labels, probabilities, "ab")


@pytest.mark.parametrize(
    ("status", "style", "word"),
    [
        ("promote", "promoted", "Promoted."),
        ("held", "held", "Held."),
        ("block", "blocked", "Blocked."),
        ("unchanged", "unchanged", "Unchanged."),
    ],
)
def test_the_verdict_comes_first(parse, status, style, word):
    page = parse(head(dataclasses.replace(sample(60), status=status)))
    assert page.tags[0] == ("header", {"class": f"verdict {style}"})
    assert page.text.index(word) < page.text.index("digits@4 reads")


@pytest.mark.parametrize(
    ("right", "before", "codes", "sentence"),
    [
        (
            983,
            970,
            ("above_floors", "better_than_champion"),
            "digits@4 reads 98.30 % of 1,000 exam images correctly, 1.30 points more than "
            "digits@3: more than chance explains.",
        ),
        (
            970,
            972,
            ("not_better",),
            "digits@4 reads 97.00 % of 1,000 exam images correctly, 0.20 points less than "
            "digits@3: too little to tell it from chance.",
        ),
        (
            970,
            970,
            ("exam_seen",),
            "digits@4 reads 97.00 % of 1,000 exam images correctly, as many as digits@3: "
            "but the exam was not new to both.",
        ),
        (
            990,
            None,
            ("above_floors", "first_version"),
            "digits@4 reads 99.00 % of 1,000 exam images correctly: it passes every floor, and "
            "there is no champion before it.",
        ),
        (
            500,
            None,
            ("below_floor", "below_floor", "first_version"),
            "digits@4 reads 50.00 % of 1,000 exam images correctly: below what every version "
            "must reach.",
        ),
        (
            900,
            None,
            ("no_exam",),
            "digits@4 reads 90.00 % of 1,000 validation images correctly: without an exam "
            "nothing is published.",
        ),
        (
            900,
            None,
            ("a_plugins_own_code",),
            "digits@4 reads 90.00 % of 1,000 exam images correctly.",
        ),
    ],
)
def test_one_sentence_says_what_happened_and_why(right, before, codes, sentence):
    data = dataclasses.replace(
        sample(60),
        metrics=judged(right),
        champion=None if before is None else judged(before),
        reasons=[f"{code}: some words" for code in codes],
    )
    assert summary(data) == sentence


def test_an_exam_without_rows_is_said_to_be_one():
    data = dataclasses.replace(
        sample(60), metrics=judged(0, 0), champion=None, reasons=("exam_empty: no rows",)
    )
    assert summary(data) == "digits@4 was asked nothing: so nothing is known of it."


def test_reasons_stand_in_their_order_with_their_codes(parse):
    text = parse(head(sample(60))).text
    assert text.index("It is. better_than_champion") < text.index("They are. above_floors")


def test_the_champion_is_compared_with_where_there_is_one(parse):
    data = dataclasses.replace(sample(60), metrics=judged(990), champion=judged(980))
    page = parse(head(data))
    assert page.count("svg") == 1
    for words in ("95 % interval 98.17 – 99.46 %", "champion 20", "champion 98.00 %", "digits@3 "):
        assert words in page.text
    alone = parse(head(dataclasses.replace(data, champion=None)))
    assert alone.count("svg") == 0
    assert "champion" not in alone.text.replace("better_than_champion", "")


def test_a_class_that_is_never_read_is_the_weakest(parse):
    labels = np.array([0, 0, 1])
    answers = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2]], np.float32)
    page = parse(head(dataclasses.replace(sample(60), metrics=measure(labels, answers, "ab"))))
    at = page.words.index("Weakest class")
    assert page.words[at + 1 : at + 3] == ["0.00 %", "of the images of class b"]


def test_drawings_are_called_drawings(parse):
    said = {
        drawn: parse(head(dataclasses.replace(sample(60), drawn=drawn))).text
        for drawn in ("all", "some", "none")
    }
    assert "Trained on drawings." in said["all"]
    assert "this report cannot say" in said["all"]
    assert "Trained partly on drawings." in said["some"]
    assert "drawings" not in said["none"]


def test_real_handwriting_is_told_where_it_was_tried(parse):
    transfer = {"name": "MNIST's test images", "accuracy": 0.979, "n": 10_000}
    data = dataclasses.replace(sample(60), drawn="all", transfer=transfer)
    text = parse(head(data)).text
    assert "On real handwriting: 97.90 % of 10,000 images (MNIST's test images)." in text
    assert "cannot say" not in text
