"""The state of a workspace: its models with their champions, the newest runs, the last scorings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_pipeline.errors import PipelineError
from mnist_pipeline.store.endings import Ending, newest_endings
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry, VersionInfo
from mnist_pipeline.store.scorings import last_scoring

MOST_RUNS = 14
MOST_VERSIONS = 30


@dataclasses.dataclass(frozen=True)
class ModelState:
    """One model name.

    Attributes:
        champion: the version that is champion now, or None.
        reign: since when it is (`since`), why (`reason`) and by whose will (`by`).
        versions: the newest, and the champion, newest first.
        scoring: what came of the last scoring with this model, if that is known.
        damage: why less is known of it than should be.
    """

    name: str
    champion: VersionInfo | None = None
    reign: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Sequence[VersionInfo] = ()
    scoring: Mapping[str, Any] | None = None
    damage: str = ""

    def to_json(self) -> dict[str, Any]:
        champion = self.champion
        return {
            "name": self.name,
            "champion": {**champion.to_json(), **self.reign} if champion else None,
            "newest_version": self.versions[0].version if self.versions else None,
            "scoring": dict(self.scoring) if self.scoring else None,
            "damage": self.damage or None,
        }


@dataclasses.dataclass(frozen=True)
class State:
    """A workspace.

    Attributes:
        workspace: its folder or URL.
        models: by name.
        runs: how the newest ended, newest first.
    """

    workspace: str
    models: Sequence[ModelState]
    runs: Sequence[Ending]

    def to_json(self) -> dict[str, Any]:
        return {
            "workspace": self.workspace,
            "models": [model.to_json() for model in self.models],
            "runs": [run.to_json() for run in self.runs],
        }


def state_of(store: Store) -> State:
    """What is going on in a workspace; what is damaged there is said, not raised."""
    registry = Registry(store)
    return State(
        str(store.root or store.url),
        [_model(registry, name) for name in registry.names()],
        newest_endings(store, MOST_RUNS),
    )


def _model(registry: Registry, name: str) -> ModelState:
    try:
        versions = registry.versions(name, newest=MOST_VERSIONS)
        reign = registry.champion(name)
        scoring = last_scoring(registry.store, name)
    except PipelineError as error:
        return ModelState(name, damage=error.headline)
    if reign is None:
        return ModelState(name, None, {}, versions[::-1], scoring)
    champion = next((row for row in versions if row.version == reign.value["version"]), None)
    told = {key: reign.value.get(key, "") for key in ("since", "reason", "by")}
    return ModelState(name, champion, told, versions[::-1], scoring)
