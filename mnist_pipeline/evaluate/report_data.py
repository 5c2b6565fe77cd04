"""What a report shows: everything it needs, gathered, and nothing it would have to fetch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mnist_pipeline.data.profile import Profile
from mnist_pipeline.evaluate.metrics import Metrics

Images = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, eq=False)
class RejectedRow:
    """A row that was turned away, and what can be seen of it.

    Attributes:
        source, place, reason, detail: as in the quarantine.
        picture: (H, W) uint8 of any size, or None where no picture could be had.
        pixel: the number of the pixel that the detail names, or None.
        beginning: how its raw bytes begin, as text, where there is no picture.
    """

    source: str
    place: int
    reason: str
    detail: str
    picture: Images | None = None
    pixel: int | None = None
    beginning: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class ReportData:
    """All that a report shows. What is empty or None leaves its part out.

    Attributes:
        status: `promoted`, `held`, `blocked`, `unchanged` or a gate's `promote`, `hold`, `block`.
        reasons: `code: sentence` each, the deciding ones first.
        metrics: the candidate's answers in the exam, measured.
        champion: the champion's, in the same exam, to compare with.
        champion_name: what it is called.
        transfer: how a model of drawn digits reads real ones: `name` of the images, `accuracy`
            in [0, 1], `n`.
        history: one mapping a record, in order: `step`, `epoch`, `loss`, `validation_accuracy`,
            `validation_loss`, `learning_rate`; any of them may be missing or None. An ensemble's
            has means over its members, and a last record with `ensemble` true about all together.
        mistakes: image (height · width,) uint8, label, predicted (indices into `classes`),
            confidence.
        dataset: `rows`, `accepted`: int; `rejected`: count by reason; `sides`: rows by side
            (`train`, `validation`, `exam`); `class_counts`: by side, a count for each class.
        drawn: whether the program has drawn the rows: all of them, some, or none.
        profile: of the training rows.
        samples: some of them: images (N, height · width) uint8, labels (N,) uint8.
        bent: the same samples as the training may have seen them; None without augmentation.
        rejects: some rejected rows.
        quarantine: where all of them lie.
        lineage: what the version was made of, by name: digests, seed, parts.
        config_toml: the resolved configuration.
    """

    model: str
    version: int | None
    status: str
    reasons: Sequence[str]
    metrics: Metrics
    classes: Sequence[str]
    champion: Metrics | None = None
    champion_name: str = "the champion"
    transfer: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, Any]] = ()
    mistakes: Sequence[tuple[Images, int, int, float]] = ()
    dataset: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drawn: Literal["all", "some", "none"] = "none"
    profile: Profile | None = None
    samples: tuple[Images, Images] | None = None
    bent: Images | None = None
    rejects: Sequence[RejectedRow] = ()
    quarantine: str = ""
    lineage: Mapping[str, str] = dataclasses.field(default_factory=dict)
    config_toml: str = ""
    height: int = 28
    width: int = 28
