"""The champion: moved by whoever saw the last one, and rolled back like a stack of plates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

steady = settings(deadline=None, derandomize=True, database=None)


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


def promote(registry: Registry, version: int) -> None:
    assert registry.promote("digits", version, "better", after=registry.champion("digits"))


def test_of_two_promotions_that_saw_the_same_champion_one_wins(registry: Registry) -> None:
    assert registry.promote("digits", 1, "first", after=None)
    assert registry.promote("digits", 2, "first too", after=None) is None
    seen = registry.champion("digits")
    assert seen is not None
    assert registry.promote("digits", 3, "better", after=seen)
    assert registry.promote("digits", 4, "better too", after=seen) is None
    champion = registry.champion("digits")
    assert champion is not None
    assert {**champion.value, "since": ""} == {
        "version": 3,
        "since": "",
        "reason": "better",
        "by": "gate",
    }


def champion_of(registry: Registry) -> int | None:
    entry = registry.champion("digits")
    return entry.value["version"] if entry else None


def test_rollback_takes_champions_off_like_plates_from_a_stack(registry: Registry) -> None:
    for version in (1, 2, 3):
        promote(registry, version)
    for expected in (2, 1):
        assert registry.before_champion("digits") == expected
        entry = registry.rollback("digits", "it misread sevens")
        assert (entry.value["version"], entry.value["reason"]) == (expected, "it misread sevens")
        assert champion_of(registry) == expected
    with pytest.raises(ConfigError, match="no champion of 'digits' to go back to"):
        registry.rollback("digits", "once more")
    assert champion_of(registry) == 1
    promote(registry, 3)
    assert registry.rollback("digits", "again").value["version"] == 1
    assert len(registry.champions("digits").history()) == 7  # nothing is ever taken away


def test_without_any_champion_there_is_no_way_back(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="to go back to"):
        registry.rollback("digits", "x")


@steady
@given(st.lists(st.sampled_from([1, 2, 3, "back"]), max_size=12))
def test_any_history_rolls_back_as_a_stack_would(steps: list[Any]) -> None:
    registry = Registry(Store.open("memory://"))
    stack: list[int] = []
    for step in steps:
        if step != "back":
            promote(registry, step)
            if stack[-1:] != [step]:  # the champion promoted once more is no new reign
                stack.append(step)
        elif len(stack) > 1:
            stack.pop()
            assert registry.rollback("digits", "x").value["version"] == stack[-1]
        else:
            with pytest.raises(ConfigError):
                registry.rollback("digits", "x")
        assert champion_of(registry) == (stack[-1] if stack else None)


def test_racing_rollbacks_go_back_one_step_each(registry: Registry) -> None:
    for version in range(1, 8):
        promote(registry, version)
    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda n: registry.rollback("digits", str(n)), range(4)))
    assert sorted(entry.value["version"] for entry in entries) == [3, 4, 5, 6]
    assert champion_of(registry) == 3
