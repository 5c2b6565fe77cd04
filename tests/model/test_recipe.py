from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import TypeAdapter

from mnist_pipeline import plugins
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.model.recipe import Recipe


@pytest.mark.parametrize("options", [{}, {"epochs": 3, "iterations": 100}])
def test_exactly_one_of_epochs_and_iterations(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="exactly one of epochs and iterations"):
        Recipe(**options)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("warmup", 1.0),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("momentum", 1.0),
        ("beta1", 1.0),
        ("beta2", -0.5),
        ("decay", 0.0),
        ("decay", 2.0),
        ("milestones", (0.5, 1.5)),
        ("peak_at", 0.0),
        ("l2", -1e-3),
        ("batch_size", -1),
        ("early_stopping", -1),
        ("seed", -1),
        ("deadline", 0.0),
    ],
)
def test_values_out_of_range_name_their_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe(**{"epochs": 3, key: value})
    assert caught.value.facts["key"] == f"train.{key}"
    assert caught.value.facts["expected"]
    assert caught.value.remedy


@pytest.mark.parametrize(("key", "value"), [("optimizer", "adamm"), ("schedule", "cosin")])
def test_an_unknown_rule_names_the_nearest(key: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe(**{"epochs": 3, key: value})  # type: ignore[arg-type]
    assert {"optimizer": "'adam'", "schedule": "'cosine'"}[key] in caught.value.remedy


def test_a_recipe_can_be_read_from_a_configuration_file() -> None:
    recipe = TypeAdapter(Recipe).validate_python({"epochs": 2, "milestones": [0.3, 0.6]})
    assert recipe == Recipe(epochs=2, milestones=(0.3, 0.6))
    with pytest.raises(ConfigError, match="batch_size cannot be -5"):
        TypeAdapter(Recipe).validate_python({"epochs": 2, "batch_size": -5})


def test_every_option_explains_itself() -> None:
    assert all(info.help for info in plugins.describe(Recipe))


def test_learning_rates_follow_the_schedule() -> None:
    recipe = Recipe(epochs=1, learning_rate=0.4, schedule="step", milestones=(0.5,), decay=0.5)
    assert [recipe.learning_rate_at(step, 4) for step in (1, 2, 3, 4)] == [0.4, 0.4, 0.2, 0.2]
    warm = Recipe(epochs=1, learning_rate=0.4, schedule="constant", warmup=0.5)
    assert [warm.learning_rate_at(step, 4) for step in (1, 2, 3, 4)] == [0.2, 0.4, 0.4, 0.4]
