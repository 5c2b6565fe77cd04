"""Configuration: layers merged by precedence, every key and value checked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mnist_pipeline import plugins
from mnist_pipeline.config import Config
from mnist_pipeline.configfile import (
    DEFAULT_PRESET,
    load_file,
    load_preset,
    parse_setting,
    presets,
    resolve,
)
from mnist_pipeline.errors import ConfigError


def sets(*texts: str) -> list[Any]:
    return [parse_setting(text) for text in texts]


# --- presets ---


@pytest.mark.parametrize("name", presets())
def test_every_preset_resolves_and_its_plugins_take_their_options(name: str) -> None:
    config = resolve([load_preset(name)])
    plugins.build("model", config.model.kind, config.model.options())
    plugins.build("normalizer", config.normalize.kind, config.normalize.options())
    assert config.gate.min_accuracy > 0
    assert config.gate.min_recall > 0


def test_presets_have_descriptions_and_the_default_is_one() -> None:
    assert DEFAULT_PRESET in presets()
    assert all(len(line) > 10 and not line.startswith("#") for line in presets().values())


@pytest.mark.parametrize("name", ["fats", "", "../config", "fast.toml"])
def test_an_unknown_preset_names_the_nearest(name: str) -> None:
    with pytest.raises(ConfigError, match="no preset called") as caught:
        load_preset(name)
    assert "'fast'" in caught.value.remedy


def test_the_tutorial_is_the_recipe_it_claims_to_be() -> None:
    config = resolve([load_preset("tutorial")])
    assert config.model.hidden == [10]
    assert (config.model.init, config.train.optimizer, config.train.batch_size) == (
        "uniform",
        "sgd",
        0,
    )
    assert (config.train.iterations, config.train.epochs) == (500, None)


def test_defaults_alone_are_a_configuration() -> None:
    assert resolve([]) == Config()
    assert Config().name == "digits"


# --- precedence ---


def test_a_higher_layer_wins_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[train]\nlearning_rate = 0.5\nseed = 1\n[gate]\nmin_accuracy = 0.5\n")
    preset = load_preset("fast")
    layers = [preset, load_file(file), *sets("train.seed=2", "train.l2=0.1")]
    config = resolve([*layers, {"train": {"l2": 0.2}}])
    assert config.train.batch_size == preset["train"]["batch_size"]
    assert config.train.learning_rate == 0.5  # file over preset
    assert config.train.seed == 2  # --set over file
    assert config.train.l2 == 0.2  # flag over --set
    assert config.gate.min_accuracy == 0.5  # and what it does not name stays
    assert config.gate.min_recall == preset["gate"]["min_recall"]


def test_resolving_changes_no_layer() -> None:
    layers: list[Any] = [load_preset("fast"), *sets("train.iterations=5", "model.kind=softmax")]
    before = json.dumps(layers)
    resolve(layers)
    assert json.dumps(layers) == before


def test_another_kind_drops_the_options_of_the_former() -> None:
    config = resolve([load_preset("fast"), *sets("model.kind=softmax")])
    assert (config.model.kind, config.model.options()) == ("softmax", {})
    plugins.build("model", config.model.kind, config.model.options())


def test_another_kind_keeps_the_options_that_come_with_and_after_it() -> None:
    layers = [
        load_preset("fast"),
        {"model": {"kind": "other", "depth": 3}},
        *sets("model.width=4"),
    ]
    assert resolve(layers).model.options() == {"depth": 3, "width": 4}


def test_the_same_kind_again_drops_nothing() -> None:
    preset = load_preset("fast")
    config = resolve([preset, *sets("model.kind=mlp", "model.dropout=0.2")])
    assert {"kind": "mlp", **config.model.options()} == preset["model"] | {"dropout": 0.2}


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ("train.epochs=3", "train.iterations=7", (None, 7)),
        ("train.iterations=7", "train.epochs=3", (3, None)),
        ("train.epochs=3", "train.epochs=4", (4, None)),
        ("train.epochs=3", "train.seed=4", (3, None)),
    ],
)
def test_epochs_and_iterations_replace_one_another(
    below: str, above: str, expected: tuple[int | None, int | None]
) -> None:
    train = resolve(sets(below, above)).train
    assert (train.epochs, train.iterations) == expected


def test_both_lengths_in_one_layer_are_refused() -> None:
    with pytest.raises(ConfigError, match="exactly one of epochs and iterations"):
        resolve([load_preset("fast"), {"train": {"epochs": 1, "iterations": 2}}])


# --- keys and values ---


@pytest.mark.parametrize(
    ("layer", "key", "near"),
    [
        ({"nmae": "x"}, "nmae", "name"),
        ({"trian": {"epochs": 1}}, "trian", "train"),
        ({"data": {"sourcs": ["mnist"]}}, "data.sourcs", "sources"),
        ({"train": {"epochs": 1, "lerning_rate": 1}}, "train.lerning_rate", "learning_rate"),
        ({"publish": {"promot": True}}, "publish.promot", "promote"),
    ],
)
def test_an_unknown_key_is_refused_at_every_level(
    layer: dict[str, Any], key: str, near: str
) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}'") as caught:
        resolve([layer])
    assert repr(near) in caught.value.remedy


def test_what_plugins_may_know_is_passed_on_to_them() -> None:
    layers = sets("model.kind=cnn", "model.channels=[8, 16]", "normalize.clip=3", "gate.power=0.8")
    config = resolve(layers)
    assert config.model.options() == {"channels": [8, 16]}
    assert config.normalize.options() == {"clip": 3}
    assert config.gate.model_extra == {"power": 0.8}


@pytest.mark.parametrize(
    "setting",
    [
        "name=Digits",
        "name=''",
        'name="a\\n"',
        f"name={'a' * 64}",
        "data.sources=[]",
        "data.sources=[1]",
        "data.max_reject_fraction=1.01",
        "data.max_reject_fraction=nan",
        "data.validation_fraction=1",
        "data.exam_fraction=-0.1",
        "data.use_exam=maybe",
        "model.hidden=[0]",
        "model.hidden=256",
        "model.dropout=1.0",
        "gate.alpha=0",
        "gate.rule=worse",
        "gate.rules=floors",
        "train.epochs=2.5",
        "train.epochs=0",
        "train.learning_rate=inf",
        "train.deadline=inf",
        "train.deadline=nan",
        "train.optimizer=sdg",
        "publish.promote=perhaps",
    ],
)
def test_a_value_out_of_range_is_refused_and_its_key_named(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([load_preset("fast"), *sets(setting)])
    key = setting.partition("=")[0].rpartition(".")[2]
    assert key in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("section", ["data", "normalize", "model", "train", "gate", "publish"])
@pytest.mark.parametrize("value", [3, "x", [1]])
def test_a_value_in_the_place_of_a_section_is_refused(section: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"'{section}' is a section, not a value"):
        resolve([load_preset("fast"), {section: value}])


def test_one_source_may_be_given_without_a_list() -> None:
    assert resolve(sets("data.sources=mnist")).data.sources == ["mnist"]


def test_a_configuration_cannot_be_changed() -> None:
    config = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.name = "x"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.seed = 3  # type: ignore[misc]


def test_the_nightly_configuration_that_is_shipped() -> None:
    """It says what is true, and shows every key that a night is judged by."""
    file = Path(__file__).parents[1] / "deployments" / "nightly.toml"
    layer = load_file(file)
    config = resolve([load_preset(DEFAULT_PRESET), layer])
    assert config.data.landing == ["csv:landing/*.csv"]
    defaults = resolve([load_preset(DEFAULT_PRESET)])
    for key in ("max_reject_fraction", "max_bad_files", "min_class_share"):
        assert getattr(config.data, key) == getattr(defaults.data, key)
    assert config.gate == defaults.gate
    left_out = {"rules", "margin"}
    assert set(layer["gate"]) == set(defaults.gate.model_dump()) - left_out


def test_where_files_land_nothing_is_drawn_unless_somebody_asks() -> None:
    assert resolve(sets("data.landing=csv:a/*.csv")).data.sources == []
    both = resolve([{"data": {"landing": ["csv:a"], "sources": ["synthetic:n=10"]}}])
    assert both.data.specs == ["synthetic:n=10", "csv:a"]
    with pytest.raises(ConfigError, match="nothing to learn from"):
        resolve(sets("data.sources=[]"))
