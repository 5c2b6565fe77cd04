"""A folder with data and a configuration, deployed on a real server; what becomes of its nights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from real import ROOT, Prefect
from small import write_idx
from webhooks import Webhook

from mnist_pipeline.sources.synthetic import draw_digits
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

NIGHT = """
[data]
sources = ["idx:landing"]
[model]
kind = "softmax"
[train]
epochs = {epochs}
[gate]
min_accuracy = 0
min_recall = 0
"""


class Nights:
    """A folder with data and a configuration, deployed on a server."""

    def __init__(self, prefect: Prefect, folder: Path, webhook: Webhook | None = None) -> None:
        self.prefect, self.folder, self.webhook = prefect, folder, webhook
        self.deployments = folder / "deployments"
        self.deployments.mkdir(parents=True)
        for name in ("prefect.yaml", "scoring.toml"):
            (self.deployments / name).write_bytes((ROOT / "deployments" / name).read_bytes())
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()

    def training_alone(self) -> None:
        """Leaves out the other deployments."""
        file = self.deployments / "prefect.yaml"
        file.write_text(file.read_text().partition("- name: daily")[0])

    def configure(self, *, epochs: int) -> None:
        (self.deployments / "nightly.toml").write_text(NIGHT.format(epochs=epochs))

    def new_data(self, seed: int, rows: int = 400) -> None:
        """Other files in the landing: the next night has something to learn."""
        labels = (np.arange(rows) % 10).astype(np.uint8)
        images = draw_digits(labels, np.random.default_rng(seed))
        write_idx(self.folder / "landing", "train", images, labels)

    def deploy(self, *words: str) -> dict[str, Any]:
        """Registers `deployments/prefect.yaml` of the project with this configuration."""
        file = str(self.deployments / "prefect.yaml")
        told = self.prefect.deploy("--file", file, *words, cwd=self.folder)
        assert told["workspace"] == str(self.folder / "workspace")
        return told

    def versions(self) -> int:
        registry = Registry(Store.open(self.folder / "workspace"))
        return len(registry.versions("digits"))

    def ends(self) -> list[dict[str, Any]]:
        """The records of all runs that came to an end, oldest first."""
        found = sorted((self.folder / "workspace/runs").glob("*/end.json"))
        return [json.loads(path.read_text()) for path in found]

    def training(self) -> Any:
        """The run that is in its train stage, if one is."""
        running = self.runs("Running")
        tasks = self.prefect.post(
            "task_runs/filter",
            flow_runs={"id": {"any_": [run["id"] for run in running]}},
            task_runs={"name": {"any_": ["train"]}, "state": {"name": {"any_": ["Running"]}}},
        )
        return running[0] if running and tasks else None

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """The scheduled nights in one of some states, in the order they are due."""
        found = self.prefect.runs("training", *states)
        return [run for run in found if run["deployment_id"] == self.deployment["id"]]

    @property
    def deployment(self) -> dict[str, Any]:
        return dict(self.prefect.get("deployments/name/training/nightly"))

    def new_run(self) -> dict[str, Any]:
        """A run that somebody asks for by hand."""
        path, now = f"deployments/{self.deployment['id']}/create_flow_run", {"type": "SCHEDULED"}
        return dict(self.prefect.post(path, state=now))

    def told_of(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """What the server has told of a run."""
        assert self.webhook
        told = [each for each in self.webhook.told if each.get("url", "").endswith(run["id"])]
        return told[0] if told else None

    def state(self, run: dict[str, Any]) -> dict[str, Any]:
        return dict(self.prefect.get(f"flow_runs/{run['id']}")["state"])
