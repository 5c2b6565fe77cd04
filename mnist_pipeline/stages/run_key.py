"""The key of a run: what its result depends on, so that nothing is done twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_pipeline.config import Config
from mnist_pipeline.model.recipe import PACE
from mnist_pipeline.refs import code_digest, digest_of
from mnist_pipeline.stages.resolve import plugin_packages
from mnist_pipeline.stages.validate import Snapshot


def run_key(config: Config, snapshot: Snapshot) -> str:
    """A sha256 over what a run's result depends on: data, exam, configuration, code."""
    return run_key_of(
        config.to_json(),
        dataset=snapshot.digest,
        exam=snapshot.exam.digest if snapshot.exam else None,
        exam_changed_to=snapshot.exam_changed_to,
        packages=plugin_packages(config),
        code=code_digest(),
    )


def run_key_of(
    config: Mapping[str, Any],
    *,
    dataset: str,
    exam: str | None,
    exam_changed_to: str | None,
    packages: Mapping[str, str],
    code: str,
) -> str:
    """The same from its ingredients, today's or those that a manifest has written down."""
    places = ("sources", "landing", "max_bad_files")
    data = {key: value for key, value in config["data"].items() if key not in places}
    gate = {key: value for key, value in config["gate"].items() if key != "fail_on_hold"}
    train = {key: value for key, value in config["train"].items() if key not in PACE}
    publish = {"promote": config["publish"]["promote"]}
    return digest_of(
        {
            "dataset": dataset,
            "exam": [exam, exam_changed_to],
            # Where the rows came from is in the data set; how a hold is told, how a training is
            # paced and where a version goes change no result.
            "config": {**config, "data": data, "gate": gate, "train": train, "publish": publish},
            "packages": dict(packages),
            "code": code,
        }
    )
