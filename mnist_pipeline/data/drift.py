"""Drift: how far what comes in lies from what was learned from, as effect sizes from 0 to 1.

Effect sizes and no p-values: of a million rows every difference is significant, and few matter.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.refs import canonical_json

INK_BINS = 100
CONFIDENCE_BINS = 100
PIXEL_BINS = 16
FEWEST_ROWS = 1_000
"""Of fewer rows chance alone makes distances of 0.1 and more."""

ALARM = 0.2

Counts = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Traits:
    """What drift is measured by: counts of images and of the answers to them.

    Attributes:
        ink: (INK_BINS,) images by ink, their mean pixel / 255.
        pixels: (PIXEL_BINS,) pixels by value.
        labels: (C,) images by predicted class.
        confidences: (CONFIDENCE_BINS,) images by the probability of that class.
    """

    ink: Counts
    pixels: Counts
    labels: Counts
    confidences: Counts

    @classmethod
    def none(cls, classes: int) -> Traits:
        """The traits of no images."""
        sizes = (INK_BINS, PIXEL_BINS, classes, CONFIDENCE_BINS)
        return cls(*(np.zeros(size, np.int64) for size in sizes))

    @classmethod
    def of(
        cls,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer[Any]],
        confidences: NDArray[np.floating[Any]],
        classes: int,
    ) -> Traits:
        """The traits of images (N, pixels) uint8 with answers (N,) and confidences (N,)."""
        return cls(
            ink_counts(images), pixel_counts(images), *answer_counts(labels, confidences, classes)
        )

    def __add__(self, other: Traits) -> Traits:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Traits(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def n(self) -> int:
        """How many images were looked at."""
        return int(self.ink.sum())

    def to_json(self) -> dict[str, Any]:
        return {
            field.name: getattr(self, field.name).tolist() for field in dataclasses.fields(self)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Traits:
        """What `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.array(data[name], np.int64) for name in names))


def profile_with_answers(profile: bytes, probabilities: NDArray[np.floating[Any]]) -> bytes:
    """`profile.json` with how the model answered its exam, from probabilities (N, C)."""
    labels = probabilities.argmax(axis=1)
    by_label, by_confidence = answer_counts(
        labels, probabilities.max(axis=1), probabilities.shape[1]
    )
    answers = {"labels": by_label.tolist(), "confidences": by_confidence.tolist()}
    return canonical_json({**json.loads(profile), "answers": answers})


def learned_traits(profile: bytes) -> Traits | None:
    """The traits of what a model learned from, out of its `profile.json`.

    Its `answers` are those to the exam: a model is too sure of the rows it was trained on.
    None if the profile has none, or is damaged.
    """
    try:
        fields = json.loads(profile)
        answers = fields["answers"]
        return Traits(
            ink=np.sum([entry["ink"] for entry in fields["classes"]], axis=0, dtype=np.int64),
            pixels=np.array(fields["pixels"], np.int64).reshape(PIXEL_BINS, -1).sum(axis=1),
            labels=np.array(answers["labels"], np.int64),
            confidences=np.array(answers["confidences"], np.int64),
        )
    except (ValueError, KeyError, TypeError):
        return None


def ink_counts(images: NDArray[np.uint8]) -> Counts:
    """Images (N, pixels) by ink, (INK_BINS,)."""
    mass = images.sum(axis=1, dtype=np.int64)
    full = 255 * images.shape[1]
    bins = np.minimum(mass * INK_BINS // full, INK_BINS - 1)
    return np.bincount(bins, minlength=INK_BINS)


def pixel_counts(images: NDArray[np.uint8]) -> Counts:
    """Pixels of images (N, pixels) by value, (PIXEL_BINS,)."""
    width = 256 // PIXEL_BINS
    below = [np.count_nonzero(images < value) for value in range(width, 256, width)]
    cumulative = np.array([0, *below, images.size], np.int64)
    return cumulative[1:] - cumulative[:-1]


def answer_counts(
    labels: NDArray[np.integer[Any]], confidences: NDArray[np.floating[Any]], classes: int
) -> tuple[Counts, Counts]:
    """Answers by class, (classes,), and by confidence, (CONFIDENCE_BINS,)."""
    bins = np.minimum((confidences * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    by_label = np.bincount(labels, minlength=classes)
    return by_label, np.bincount(bins, minlength=CONFIDENCE_BINS)


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far images lie from those that a model learned from.

    Attributes:
        score: the largest of the distances; 0 the same, 1 nothing in common; `ALARM` alarms.
        distances: by the name of the trait.
        n: images looked at.
    """

    score: float
    distances: Mapping[str, float]
    n: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def drift(seen: Traits, learned: Traits, *, fewest: int = FEWEST_ROWS) -> Drift | None:
    """The drift of what was seen from what was learned; None if there are too few rows to tell.

    Ink and confidence are numbers: their distance is that of Kolmogorov and Smirnov, the largest
    difference of the cumulative shares. Labels and pixel values are kinds: theirs is the total
    variation, half the sum of the differences of the shares.
    """
    if seen.n < fewest or learned.n == 0:
        return None
    distances = {
        "ink": _kolmogorov_smirnov(seen.ink, learned.ink),
        "pixels": _total_variation(seen.pixels, learned.pixels),
        "labels": _total_variation(seen.labels, learned.labels),
        "confidence": _kolmogorov_smirnov(seen.confidences, learned.confidences),
    }
    rounded = {name: round(float(distance), 4) for name, distance in distances.items()}
    return Drift(max(rounded.values()), rounded, seen.n)


def _shares(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / max(int(counts.sum()), 1)
    return shares


def _kolmogorov_smirnov(one: Counts, two: Counts) -> float:
    return float(np.abs(np.cumsum(_shares(one)) - np.cumsum(_shares(two))).max())


def _total_variation(one: Counts, two: Counts) -> float:
    return float(np.abs(_shares(one) - _shares(two)).sum() / 2)
