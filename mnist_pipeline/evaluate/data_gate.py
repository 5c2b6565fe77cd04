"""The gate before training: may the new data be learned from? The champion is asked to read it.

A champion knows what digits look like, so it is the cheapest judge of labels there is. What it
cannot know is whether new handwriting is merely hard, so what counts most is where it is sure.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.data.drift import ALARM, Traits, drift
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.evaluate.gate import Finding
from mnist_pipeline.evaluate.metrics import percent
from mnist_pipeline.plugins import option

SURE = 0.8
"""The champion is sure where it is as confident as in the surer four fifths of its exam: a model's
confidence in itself is worth what its own exam says, and no fixed number fits two models."""

SIGMAS = 4
"""Among few rows chance alone may exceed a limit: so many standard deviations are allowed for."""

FEWEST_ROWS = 20
FEWEST_ROWS_OF_DRIFT = 500
PARTS_SHOWN = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Readings:
    """What a model reads in images whose labels are known, (N,) each.

    Attributes:
        labels: the classes they are said to show.
        predicted: the classes it sees.
        confidences: how probable it holds those to be.
    """

    labels: NDArray[np.integer[Any]]
    predicted: NDArray[np.integer[Any]]
    confidences: NDArray[np.floating[Any]]

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def joined(cls, readings: Sequence[Readings]) -> Readings:
        """Several as one."""
        columns = zip(*((r.labels, r.predicted, r.confidences) for r in readings), strict=True)
        return cls(*map(np.concatenate, columns))


@dataclasses.dataclass(frozen=True, eq=False)
class NewPart:
    """A part that the champion has not learned from.

    Attributes:
        name: what its file is called.
        readings: what the champion reads in it.
        traits: what drift is measured by.
    """

    name: str
    readings: Readings
    traits: Traits


@dataclasses.dataclass(frozen=True, eq=False)
class NewData:
    """What a gate judges before anything is trained.

    Attributes:
        parts: the new parts that have rows to learn from, at least one.
        champion: what a person calls the champion: `digits@3`.
        exam: what it reads in the exam.
        learned: the traits of what it learned from; None if they are not known.
        classes: their names.
    """

    parts: Sequence[NewPart]
    champion: str
    exam: Readings
    learned: Traits | None
    classes: Sequence[str]


@runtime_checkable
class DataGate(Protocol):
    """The gate seam, before training: a frozen dataclass of options that judges new data."""

    def inspect(self, data: NewData) -> Finding:
        """`promote` lets it pass; the same for the same data, at any time and on any machine."""
        ...


@dataclasses.dataclass(frozen=True)
class LabelDisagreement:
    """Holds rows whose labels do not say what the images show, file by file and all together.

    The share of rows that the champion reads otherwise than they are labelled may exceed the same
    share of its exam by so much: `max_disagreement` of all rows (unreadable files), and far less of
    those about which it is sure (wrong labels), also among the rows of one label (a class that was
    relabelled). Shares and no p-values: of a million rows every difference is significant.

    Measured by `tests/benchmarks/bench_labels.py` on MNIST's training images, with champions of the
    preset `fast` that had learned from 5,000 to 34,000 others: of 228 clean files of 1,000 rows and
    2,280 of 100 rows none was held; with 5 % of the labels shuffled 226 of the 228 were. A champion
    that misreads 15 % is a poor judge: it held one clean file of 1,000 rows in twenty.

    Source of the idea: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating
    Uncertainty in Dataset Labels", JAIR 70 (2021).
    """

    max_disagreement: float = option(
        0.1, "hold if labels and readings differ in so much more of the new rows than of the exam"
    )
    max_sure_disagreement: float = option(0.02, "the same of rows that the champion is sure about")
    max_class_disagreement: float = option(0.05, "the same of such rows among those of one label")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_share(field.name, getattr(self, field.name))

    def inspect(self, data: NewData) -> Finding:
        sure = float(np.quantile(data.exam.confidences, 1 - SURE))
        # What is wrong in no file alone may be in all of them together.
        reasons = [
            reason
            for part in data.parts
            if (reason := self._judge(part.name, part.readings, data, sure))
        ]
        everything = Readings.joined([part.readings for part in data.parts])
        if not reasons and len(data.parts) > 1:
            names = ", ".join(part.name for part in data.parts[:PARTS_SHOWN])
            more = ", …" * (len(data.parts) > PARTS_SHOWN)
            reason = self._judge(f"all new files together ({names}{more})", everything, data, sure)
            reasons = [reason] if reason else []
        if reasons:
            return Finding("hold", tuple(reasons))
        share = percent(float((everything.predicted != everything.labels).mean()))
        return Finding(
            "promote",
            (
                f"labels_agree: {data.champion} reads {share} of {len(everything):,} new rows "
                "otherwise than they are labelled",
            ),
        )

    def _judge(self, name: str, readings: Readings, data: NewData, sure: float) -> str | None:
        """Why some rows must not be learned from as they are labelled, if they must not."""
        exam = data.exam
        ours, theirs = readings.predicted != readings.labels, exam.predicted != exam.labels
        if text := _excess(ours, theirs, self.max_disagreement):
            what = f"{data.champion} reads {text[0]} rows otherwise than they are labelled"
            return f"label_disagreement: in {name} {what} ({text[1]}){_often(readings, ours, data)}"
        ours &= readings.confidences >= sure
        theirs &= exam.confidences >= sure
        if text := _excess(ours, theirs, self.max_sure_disagreement):
            what = f"{data.champion} is sure that {text[0]} rows are labelled wrongly"
            return f"label_disagreement: in {name} {what} ({text[1]}){_often(readings, ours, data)}"
        for label, class_name in enumerate(data.classes):
            among, of_exam = readings.labels == label, exam.labels == label
            if text := _excess(ours[among], theirs[of_exam], self.max_class_disagreement):
                what = (
                    f"{data.champion} is sure that {text[0]} rows labelled {class_name!r} are not"
                )
                often = _often(readings, ours & among, data)
                return f"label_disagreement: in {name} {what} ({text[1]}){often}"
        return None


@dataclasses.dataclass(frozen=True)
class DriftGate:
    """Holds new rows that do not look like those the champion learned from.

    All together and not file by file: one class or one hand differs from the whole by nature.
    """

    max_drift: float = option(
        ALARM, "hold if the new rows lie further from what the champion learned from, in [0, 1]"
    )

    def __post_init__(self) -> None:
        _check_share("max_drift", self.max_drift)

    def inspect(self, data: NewData) -> Finding:
        traits = data.parts[0].traits
        for part in data.parts[1:]:
            traits += part.traits
        found = data.learned and drift(traits, data.learned, fewest=FEWEST_ROWS_OF_DRIFT)
        if not found or data.learned is None:
            why = f"needs {FEWEST_ROWS_OF_DRIFT} new rows" if data.learned else "has no profile"
            return Finding("promote", (f"drift_unknown: not measured: {data.champion} {why}",))
        distances = ", ".join(f"{name} {value:.2f}" for name, value in found.distances.items())
        text = f"{found.score:.2f} from what {data.champion} learned from ({distances})"
        if found.score <= self.max_drift:
            return Finding("promote", (f"no_drift: the new rows lie {text}",))
        alone = []
        for part in data.parts:
            own = drift(part.traits, data.learned, fewest=FEWEST_ROWS)
            alone.append((own.score if own else 0.0, part.name))
        alone.sort(key=lambda pair: -pair[0])
        files = ", ".join(f"{name} {score:.2f}" for score, name in alone[:PARTS_SHOWN])
        return Finding(
            "hold",
            (
                f"drift: the new rows lie {text}, more than the {self.max_drift:g} allowed; "
                f"by themselves: {files}" + ", …" * (len(alone) > PARTS_SHOWN),
            ),
        )


def _excess(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], most: float
) -> tuple[str, str] | None:
    """Whether a share exceeds that of the exam by more than `most`, in words; None if not.

    Of n rows and m of the exam, in both of which a share q is expected, the difference of the found
    shares has the standard deviation σ = √(q (1 − q) (1/n + 1/m)); `SIGMAS` of it are no excess.
    """
    n, m = len(ours), len(theirs)
    if n < FEWEST_ROWS or not m:
        return None
    share, expected = float(ours.mean()), float(theirs.mean())
    q = max(expected, most)
    sigma = math.sqrt(q * (1 - q) * (1 / n + 1 / m))
    limit = expected + max(most, SIGMAS * sigma)
    if share <= limit:
        return None
    return (
        f"{int(ours.sum()):,} of {n:,}",
        f"{percent(share)}; in its exam {percent(expected)}, up to {percent(limit)} would do",
    )


def _often(readings: Readings, wrong: NDArray[np.bool_], data: NewData) -> str:
    """Which confusion is the most frequent among those rows."""
    pairs = Counter(
        zip(readings.labels[wrong].tolist(), readings.predicted[wrong].tolist(), strict=True)
    )
    ((label, predicted), count), *_ = pairs.most_common(1)
    classes = data.classes
    return f"; most often {classes[predicted]!r} labelled {classes[label]!r} ({count:,} rows)"


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(
            f"gate.{name} = {value:g} is not a share",
            expected="a number from 0 to 1, such as 0.05",
            remedy=f"set gate.{name} within that range; 1 switches the rule off",
        )
