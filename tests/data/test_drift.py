"""Drift: a clean sample is quiet, other images are not, and counts add up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.data.drift import (
    ALARM,
    FEWEST_ROWS,
    Traits,
    drift,
    learned_traits,
    profile_with_answers,
)
from mnist_pipeline.sources.synthetic import draw_digits


@pytest.fixture(scope="module")
def population() -> tuple[Any, Any, Any]:
    """6,000 drawn digits with answers as a good model gives them."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 10, 6000)
    return draw_digits(labels, rng), labels, 1 - rng.beta(0.3, 6, 6000)


def traits(population: tuple[Any, Any, Any], rows: Any = slice(None)) -> Traits:
    images, labels, confidences = population
    return Traits.of(images[rows], labels[rows], confidences[rows], 10)


def test_clean_samples_are_quiet(population: Any) -> None:
    learned = traits(population)
    rng = np.random.default_rng(0)
    for _ in range(100):
        found = drift(traits(population, rng.integers(0, 6000, FEWEST_ROWS)), learned)
        assert found
        assert found.score < ALARM / 2


CHANGES: dict[str, Any] = {
    "inverted": lambda x: 255 - x,
    "half of them blank": lambda x: np.where(np.arange(len(x))[:, None] % 2, x, 0),
    "thick strokes": lambda x: np.maximum.reduce([np.roll(x, k, 1) for k in (-29, -1, 0, 1, 29)]),
    "faint": lambda x: x // 3,
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_alarm(change: str, population: Any) -> None:
    images, labels, confidences = population
    changed = CHANGES[change](images).astype(np.uint8)
    found = drift(Traits.of(changed, labels, confidences, 10), traits(population))
    assert found
    assert found.score >= ALARM
    assert found.distances["labels"] == found.distances["confidence"] == 0


def test_other_answers_alarm(population: Any) -> None:
    images, labels, confidences = population
    learned = traits(population)
    unsure = drift(Traits.of(images, labels, confidences * 0.5, 10), learned)
    assert unsure
    assert unsure.distances["confidence"] == unsure.score > ALARM
    one_sided = drift(Traits.of(images, labels // 2, confidences, 10), learned)
    assert one_sided
    assert one_sided.distances["labels"] == pytest.approx(0.5, abs=0.02)


def test_too_few_rows_say_nothing(population: Any) -> None:
    learned = traits(population)
    assert drift(traits(population, slice(FEWEST_ROWS - 1)), learned) is None
    assert drift(learned, Traits.none(10)) is None
    assert drift(traits(population, slice(FEWEST_ROWS)), learned) is not None


def test_the_same_is_0_and_nothing_in_common_is_1() -> None:
    blank, full = np.zeros((1000, 784), np.uint8), np.full((1000, 784), 255, np.uint8)
    zeros, nines = np.zeros(1000, int), np.full(1000, 9)
    one = Traits.of(blank, zeros, np.full(1000, 0.1), 10)
    two = Traits.of(full, nines, np.full(1000, 1.0), 10)
    same, other = drift(one, one), drift(two, one)
    assert same
    assert same.score == 0
    assert other
    assert set(other.distances.values()) == {1.0}
    assert other.n == 1000


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 6000), max_size=5))
def test_traits_add_up_however_rows_are_cut(population: Any, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 6000]
    total = Traits.none(10)
    for start, stop in itertools.pairwise(edges):
        total += traits(population, slice(start, stop))
    assert total.to_json() == traits(population).to_json()
    assert Traits.from_json(json.loads(json.dumps(total.to_json()))).n == 6000


def test_a_profile_that_tells_nothing() -> None:
    for profile in (b"", b"{}", b"[]", b'{"classes": [], "pixels": [], "answers": {}}'):
        assert learned_traits(profile) is None


def test_what_a_version_learned_from(population: Any) -> None:
    from mnist_pipeline.contract.spec import ImageContract
    from mnist_pipeline.data.profile import Profiler

    images, labels, confidences = population
    profiler = Profiler(ImageContract())
    profiler.add(images, labels.astype(np.uint8))
    probabilities = np.full((6000, 10), 0.0)
    probabilities[np.arange(6000), labels] = confidences
    profile = profile_with_answers(profiler.profile().to_bytes(), probabilities)
    learned = learned_traits(profile)
    assert learned
    assert learned.to_json() == traits(population).to_json()
