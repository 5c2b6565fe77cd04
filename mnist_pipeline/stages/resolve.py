"""Resolving a configuration: plugin names with their versions, their options in full.

A preset's meaning and a plugin's defaults may change; what is stored and what keys are made of is
the configuration as it was meant on the day.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.config import Config, ModelConfig, NormalizeConfig, PublishConfig
from mnist_pipeline.errors import ConfigError, did_you_mean
from mnist_pipeline.evaluate.data_gate import DataGate
from mnist_pipeline.evaluate.gate import Gate
from mnist_pipeline.model.networks import Model
from mnist_pipeline.stages.strangers import try_out
from mnist_pipeline.store.publishers import Publisher


def resolved(config: Config) -> Config:
    """The configuration with every plugin built once, so that a mistake shows before any work.

    Raises:
        ConfigError: a plugin does not exist, or an option of it is wrong.
        OutsideError: a plugin of another package is broken.
    """
    for gate, rule in zip(gates_of(config), config.gate.rules, strict=True):
        try_out("gate", rule, dataclasses.asdict(gate))  # type: ignore[call-overload]
    rules = [plugins.resolve("gate", rule).name for rule in config.gate.rules]
    normalize = _complete("normalizer", config.normalize.kind, config.normalize.options())
    model = _complete("model", config.model.kind, config.model.options())
    return config.model_copy(
        update={
            "normalize": NormalizeConfig.model_validate(normalize),
            "model": ModelConfig.model_validate(model),
            "gate": config.gate.model_copy(update={"rules": rules}),
            "publish": _publish(config),
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


def publishers_of(config: Config) -> dict[str, Publisher]:
    """The publishers of a configuration by resolved name, each with the options of its table.

    Raises:
        ConfigError: one is unknown or named twice, or a table belongs to none.
    """
    section = config.publish
    known = {info.base_name for info in plugins.available("publisher")}
    for key in section.tables.keys() - known:
        valid = known | set(type(section).model_fields)
        raise ConfigError(f"unknown key 'publish.{key}'", remedy=did_you_mean(key, valid))
    publishers: dict[str, Publisher] = {}
    for name in section.to:
        info = plugins.resolve("publisher", name)
        if any(info.base_name == plugins.resolve("publisher", n).base_name for n in publishers):
            raise ConfigError(
                f"publish.to names {info.base_name!r} twice", remedy="name each publisher once"
            )
        options = section.tables.get(info.base_name, {})
        publishers[info.name] = plugins.build("publisher", info.name, options)
    return publishers


def _publish(config: Config) -> PublishConfig:
    """The section with all options of the publishers that are named, and the other tables."""
    publishers = publishers_of(config)
    full = {
        name.partition(".v")[0]: dataclasses.asdict(publisher)  # type: ignore[call-overload]
        for name, publisher in publishers.items()
    }
    tables = {**config.publish.tables, **full}
    promote = config.publish.promote
    return PublishConfig.model_validate({"promote": promote, "to": list(publishers), **tables})


def _complete(seam: str, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    plugin = plugins.build(seam, kind, options)
    try_out(seam, kind, dataclasses.asdict(plugin))
    return {"kind": plugins.resolve(seam, kind).name, **dataclasses.asdict(plugin)}
