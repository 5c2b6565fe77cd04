"""Publishing: what a key holds, what an old champion may stop, what a killed run leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_pipeline import plugins
from mnist_pipeline.configfile import resolve
from mnist_pipeline.errors import ConfigError, OutsideError
from mnist_pipeline.stages import publish
from mnist_pipeline.stages.resolve import plugin_packages, resolved
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry


def test_the_stored_configuration_is_resolved(train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}", "model.kind=mlp", "model.hidden=[16]")
    config = Registry(Store.open(workspace)).manifest("digits", 1).config
    assert config["model"] == {"kind": "mlp.v1", "hidden": [16], "init": "he", "dropout": 0.0}
    assert config["normalize"]["kind"] == "scale.v1"
    rules = ["label_disagreement.v1", "drift.v1", "floors.v1", "mcnemar.v1"]
    assert config["gate"]["rules"] == rules
    assert config["gate"]["max_drift"] == 0.2


def test_a_stored_configuration_resolves_to_itself() -> None:
    once = resolved(resolve([{"model": {"kind": "mlp", "hidden": [3]}}]))
    assert resolved(resolve([once.to_json()])) == once


def test_another_version_of_a_plugins_package_is_another_run(
    train, idx_folder: Path, monkeypatch
) -> None:
    assert train(f"idx:{idx_folder}").outcome.status == "promoted"
    assert train(f"idx:{idx_folder}").outcome.status == "unchanged"
    resolve_plugin = plugins.resolve

    def newer(seam: str, name: str) -> plugins.PluginInfo:
        info = resolve_plugin(seam, name)
        return plugins.PluginInfo(info.seam, info.name, info.package, "99", info.entry_point)

    monkeypatch.setattr(plugins, "resolve", newer)
    assert set(plugin_packages(resolve([])).values()) == {"mnist-pipeline 99"}
    assert train(f"idx:{idx_folder}").outcome.status == "held"


def test_a_lost_former_champion_stops_nothing(train, idx_folder: Path, workspace: Path) -> None:
    train(f"idx:{idx_folder}", "train.learning_rate=1e-6")
    assert train(f"idx:{idx_folder}").outcome.status == "promoted"
    registry = Registry(Store.open(workspace))
    registry.promote("digits", 1, "back", after=registry.champion("digits"))
    (workspace / "models/digits/versions/2/manifest.json").unlink()
    assert train(f"idx:{idx_folder}", "train.seed=3").outcome.status == "promoted"


def test_an_unusable_champion_is_looked_at_again_once_it_is_mended(
    train, idx_folder: Path, workspace: Path
) -> None:
    train(f"idx:{idx_folder}", "train.learning_rate=1e-6")
    weights = workspace / "models/digits/versions/1/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    held = train(f"idx:{idx_folder}").outcome
    assert (held.status, held.reasons[0].partition(":")[0]) == ("held", "champion_unusable")
    weights.write_bytes(whole)
    assert train(f"idx:{idx_folder}").outcome.status == "promoted"


def test_floors_hold_where_the_champion_is_unusable(
    train, idx_folder: Path, workspace: Path
) -> None:
    train(f"idx:{idx_folder}")
    (workspace / "models/digits/versions/1/model.safetensors").unlink()
    outcome = train(f"idx:{idx_folder}", "train.seed=1", "gate.min_accuracy=0.999").outcome
    assert (outcome.status, outcome.exit_code) == ("blocked", 4)


def test_a_retried_publish_goes_on_with_its_own_version(
    train, idx_folder: Path, workspace: Path, monkeypatch
) -> None:
    promote = Registry.promote
    calls = []

    def failing_once(self, *arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise OutsideError("the store did not answer", transient=True)
        return promote(self, *arguments, **options)

    monkeypatch.setattr(Registry, "promote", failing_once)
    real = publish.publish

    def retried(*arguments):
        try:
            return real(*arguments)
        except OutsideError:
            return real(*arguments)

    monkeypatch.setattr("mnist_pipeline.pipeline.publish", retried)
    outcome = train(f"idx:{idx_folder}").outcome
    assert (outcome.status, outcome.version) == ("promoted", 1)
    assert [v.version for v in Registry(Store.open(workspace)).versions("digits")] == [1]


def test_training_needs_labels(train, tmp_path: Path, idx_folder: Path, workspace: Path) -> None:
    with pytest.raises(ConfigError, match="without labels"):
        train(f"idx:{idx_folder},labelled=false")
    assert not (workspace / "models").exists()
