"""What a tracking server is told of a version: tags, parameters, metrics, curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mnist_pipeline.refs import sha256
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.publishers import FinishedVersion

IDENTITY = "mnist_pipeline.manifest"
"""The tag by which a version is found again: the sha256 of its manifest, of which there is one."""

LONGEST_VALUE = 6000
"""Letters of a parameter's value that MLflow takes."""

Point = tuple[str, float, int]
"""A metric's name, its value, and the step it belongs to."""


def identity(manifest: Manifest) -> str:
    """The value of the tag `IDENTITY`."""
    return sha256(manifest.to_bytes())


def tags(manifest: Manifest) -> dict[str, str]:
    """Tags of the run and of the registered version."""
    return {
        IDENTITY: identity(manifest),
        "mnist_pipeline.version": f"{manifest.name}@{manifest.version}",
        "mnist_pipeline.verdict": str(manifest.verdict["status"]),
        "mnist_pipeline.run": manifest.run,
        "mnist_pipeline.run_key": manifest.run_key,
        "mnist_pipeline.code": manifest.code,
        "mnist_pipeline.dataset": manifest.dataset,
        "mnist_pipeline.exam": manifest.exam or "",
    }


def description(manifest: Manifest) -> str:
    """The verdict with its reasons, as Markdown."""
    reasons = "".join(f"\n- {reason}" for reason in manifest.verdict["reasons"])
    return f"{manifest.name}@{manifest.version}, verdict: {manifest.verdict['status']}\n{reasons}"


def parameters(manifest: Manifest) -> dict[str, str]:
    """The resolved configuration, flat: `train.epochs` → `10`; lists as JSON."""
    return {key: value[:LONGEST_VALUE] for key, value in _flat(manifest.config)}


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)


def points(version: FinishedVersion) -> list[Point]:
    """The numbers of the exam under their own names, those of the training below `training/`.

    A training has a point an epoch, at the optimizer step it was measured after; what a history
    says at its end about a whole ensemble is below `ensemble/`.
    """
    found = [(name, float(value), 0) for name, value in version.manifest.metrics.items()]
    for place, record in enumerate(json.loads(version.read("history.json")), start=1):
        about = "ensemble" if record.get("ensemble") else "training"
        step = record.get("step", place)
        found += [
            (f"{about}/{key}", float(value), step)
            for key, value in record.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and key != "step"
        ]
    return found


def began(manifest: Manifest) -> int:
    """When the run began, which its name says, in milliseconds of 1970; else when it ended."""
    try:
        return _milliseconds(datetime.strptime(f"{manifest.run[:15]}+0000", "%Y%m%dT%H%M%S%z"))
    except ValueError:
        return ended(manifest)


def ended(manifest: Manifest) -> int:
    """When the version was made, in milliseconds of 1970."""
    return _milliseconds(datetime.fromisoformat(manifest.created))


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
