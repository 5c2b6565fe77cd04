"""Resolving a configuration: plugin names with their versions, their options in full.

A preset's meaning and a plugin's defaults may change; what is stored and what keys are made of is
the configuration as it was meant on the day.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.config import Config, ModelConfig, NormalizeConfig
from mnist_pipeline.errors import ConfigError, did_you_mean
from mnist_pipeline.evaluate.data_gate import DataGate
from mnist_pipeline.evaluate.gate import Gate
from mnist_pipeline.model.networks import Model


def resolved(config: Config) -> Config:
    """The configuration with every plugin built once, so that a mistake shows before any work.

    Raises:
        ConfigError: a plugin does not exist, or an option of it is wrong.
    """
    gates_of(config)
    rules = [plugins.resolve("gate", rule).name for rule in config.gate.rules]
    normalize = _complete("normalizer", config.normalize.kind, config.normalize.options())
    model = _complete("model", config.model.kind, config.model.options())
    return config.model_copy(
        update={
            "normalize": NormalizeConfig.model_validate(normalize),
            "model": ModelConfig.model_validate(model),
            "gate": config.gate.model_copy(update={"rules": rules}),
        }
    )


def plugin_packages(config: Config) -> dict[str, str]:
    """The package and version of every plugin that a result depends on, by resolved name."""
    model: Model = plugins.build("model", config.model.kind, config.model.options())
    used = [("normalizer", config.normalize.kind), ("model", config.model.kind)]
    used += [("model", part) for part in model.member_kinds]
    used += [("gate", rule) for rule in config.gate.rules]
    infos = [plugins.resolve(seam, name) for seam, name in used]
    return {info.name: f"{info.package} {info.package_version}" for info in infos}


def gates_of(config: Config) -> list[Gate | DataGate]:
    """The gates of a configuration, each with the `[gate]` keys that are its options.

    Raises:
        ConfigError: a rule is unknown, or a key belongs to none of the rules.
    """
    given = config.gate.model_dump(exclude={"rules", "fail_on_hold"})
    gates: list[Gate | DataGate] = []
    used: set[str] = set()
    for rule in config.gate.rules:
        fields = {field.name for field in dataclasses.fields(plugins.load("gate", rule))}
        options = {key: value for key, value in given.items() if key in fields}
        used |= fields
        gates.append(plugins.build("gate", rule, options))
    for key in config.gate.model_extra or {}:
        if key not in used:
            valid = used | set(type(config.gate).model_fields)
            raise ConfigError(f"unknown key 'gate.{key}'", remedy=did_you_mean(key, valid))
    return gates


def _complete(seam: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    plugin = plugins.build(seam, kind, options)
    return {"kind": plugins.resolve(seam, kind).name, **dataclasses.asdict(plugin)}
