"""How the model errs: every count where it belongs, changes with their sign."""

import dataclasses
import re

from report_samples import sample

from mnist_pipeline.evaluate.error_sections import MOST_CLASSES, confusion_table, errors


def test_the_matrix_shows_every_count_and_leaves_zeros_blank(parse):
    table = parse(confusion_table(((12345, 0), (2, 7)), ("a", "b")))
    corner, *cells = [a for tag, a in table.tags if tag == "td"]
    assert corner == {}
    assert [cell.get("class") for cell in cells] == ["hit", None, "miss", "hit"]
    assert cells[0]["title"] == "a read as a: 12,345 of 12,345"
    assert [word for word in table.words if word[0].isdigit()] == ["12k", "2", "7"]


def test_more_classes_than_a_matrix_can_show_leave_their_worst_pairs():
    data = sample(4_000, MOST_CLASSES + 1)
    markup = errors(data)
    assert 'class="confusion' not in markup
    worst = max(
        n for i, row in enumerate(data.metrics.confusion) for j, n in enumerate(row) if i != j
    )
    assert re.search(rf"Most often \d+ read as \d+, {worst} of ", markup)


def test_a_recall_that_changed_against_the_champion_is_shown_with_its_sign(parse):
    data = sample()
    worse = [
        dataclasses.replace(entry, recall=entry.recall + (0.01 if i == 0 else -0.02))
        for i, entry in enumerate(data.metrics.per_class)
    ]
    champion = dataclasses.replace(data.metrics, per_class=tuple(worse))
    page = parse(errors(dataclasses.replace(data, champion=champion)))
    assert page.words.count("-1.00") == 1
    assert page.words.count("+2.00") == 9
    styles = [attributes.get("class") for tag, attributes in page.tags if tag == "small"]
    assert (styles.count("worse"), styles.count("better")) == (1, 9)
    assert "champion" not in parse(errors(dataclasses.replace(data, champion=None))).text


def test_every_mistake_is_shown_with_what_it_was_taken_for(parse):
    data = sample()
    page = parse(errors(data))
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert alts == [f"a {label} read as {answer}" for _, label, answer, _ in data.mistakes]
