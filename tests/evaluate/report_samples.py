"""Reports over made-up answers: a full one, and one of words that want to break out of the page."""

from __future__ import annotations

import dataclasses

import numpy as np

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.profile import Profiler
from mnist_pipeline.evaluate.metrics import measure, mistakes
from mnist_pipeline.evaluate.report_data import RejectedRow, ReportData

HOSTILE = "</script></style></title><img src=x onerror=alert(1)>\"' onload='alert(2)' &amp;"


def sample(n: int = 400, C: int = 10, seed: int = 5) -> ReportData:
    """A full report over made-up answers of C classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, C, n)
    logits = rng.normal(0, 1.5, (n, C))
    logits[np.arange(n), labels] += 4
    weights = np.exp(logits)
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    classes = tuple(str(i) for i in range(C))
    images = rng.integers(0, 256, (n, 784), dtype=np.uint8)
    metrics = measure(labels, probabilities, classes)
    counts = [int(count) for count in np.bincount(labels, minlength=C)]
    profiler = Profiler(ImageContract(classes=classes))
    profiler.add(images // 4, labels.astype(np.uint8))
    return ReportData(
        model="digits",
        version=4,
        status="promoted",
        reasons=("better_than_champion: it is", "above_floors: they are"),
        metrics=metrics,
        classes=classes,
        champion=metrics,
        champion_name="digits@3",
        history=[
            {
                "step": 100 * e,
                "epoch": e,
                "loss": 2.0 / e,
                "validation_accuracy": 1 - 0.2 / e,
                "validation_loss": 2.5 / e,
                "learning_rate": 1e-3 / e,
            }
            for e in range(1, 13)
        ],
        mistakes=[
            (images[m.row], m.label, m.predicted, m.confidence)
            for m in mistakes(labels, probabilities)
        ],
        dataset={
            "rows": 1003,
            "accepted": 1000,
            "rejected": {"label_missing": 2, "pixel_out_of_range": 1},
            "sides": {"train": 500, "validation": 100, "exam": n},
            "class_counts": {"train": counts, "validation": counts, "exam": counts},
        },
        profile=profiler.profile(),
        samples=(images[:120], labels[:120].astype(np.uint8)),
        rejects=[
            RejectedRow("a.csv", 17, "label_missing", "column label", images[0].reshape(28, 28)),
            RejectedRow(
                "a.csv",
                19,
                "pixel_out_of_range",
                "column pixel57 is '256'",
                images[1].reshape(28, 28),
                57,
            ),
            RejectedRow("b.csv", 2, "label_missing", "", beginning="junk,row"),
        ],
        quarantine="quarantine/r1/rejected.parquet",
        lineage={"dataset": "d" * 64, "seed": "5"},
        config_toml='name = "digits"\n\n[train]\nepochs = 12\n',
    )


def hostile() -> ReportData:
    """Words that would leave their element, wherever somebody outside chooses the words."""
    full = sample()
    assert full.profile is not None
    return dataclasses.replace(
        full,
        model=HOSTILE,
        status=HOSTILE,
        reasons=(HOSTILE, f"code: {HOSTILE}"),
        classes=(HOSTILE,) * 10,
        champion_name=HOSTILE,
        transfer={"name": HOSTILE, "accuracy": 0.5, "n": 3},
        dataset={
            "rows": 1,
            "accepted": 0,
            "rejected": {HOSTILE: 1},
            "sides": {HOSTILE: 7},
            "class_counts": {HOSTILE: [1] * 10},
        },
        drawn="all",
        profile=dataclasses.replace(full.profile, classes=(HOSTILE,) * 10),
        rejects=[
            RejectedRow(HOSTILE, 1, HOSTILE, HOSTILE, beginning=HOSTILE),
            RejectedRow(HOSTILE, 2, HOSTILE, HOSTILE, full.mistakes[0][0].reshape(28, 28), 3),
        ],
        quarantine=HOSTILE,
        lineage={HOSTILE: HOSTILE},
        config_toml=HOSTILE,
    )
