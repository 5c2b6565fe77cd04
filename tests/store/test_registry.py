"""The registry: numbers claimed once, versions visible once complete, runs recorded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from store_samples import make_manifest, run_record

from mnist_pipeline.errors import ConfigError, IntegrityError
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.owner import Owner
from mnist_pipeline.store.registry import Registry, parse_reference
from mnist_pipeline.store.series import Entry


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


Publish = Callable[..., int]


@pytest.fixture
def publish(registry: Registry) -> Publish:
    """Claims a number and publishes a manifest under it."""

    def run(name: str = "digits", **changes: Any) -> int:
        number = registry.claim(name, "r1", changes.get("run_key", "key"))
        registry.publish(make_manifest(name, number, **changes))
        return number

    return run


def promote(registry: Registry, version: int) -> None:
    assert registry.promote("digits", version, "better", after=registry.champion("digits"))


# --- numbers ---


def test_numbers_are_claimed_upwards_and_gaps_are_not_filled(registry: Registry) -> None:
    assert [registry.claim("digits", "r", "k") for _ in range(3)] == [1, 2, 3]
    registry.store.delete("models/digits/versions/2/claim.json")
    registry.store.put("models/digits/versions/11/claim.json", b"{}")
    assert registry.claim("digits", "r", "k") == 12
    assert registry.claim("letters", "r", "k") == 1


def test_a_claim_says_whose_it_is(registry: Registry) -> None:
    registry.claim("digits", "run-7", "key-7")
    assert json.loads(registry.store.get("models/digits/versions/1/claim.json")) == {
        "run": "run-7",
        "run_key": "key-7",
        "owner": dataclasses.asdict(Owner.this()),
    }


def test_racing_threads_never_get_the_same_number(registry: Registry) -> None:
    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(lambda n: registry.claim("digits", str(n), "k"), range(24)))
    assert sorted(numbers) == list(range(1, 25))


def test_racing_processes_never_get_the_same_number(shared_store: Store, race: Any) -> None:
    program = "result = [Registry(store).claim('digits', str(me), 'k') for _ in range(10)]"
    imports = "from mnist_pipeline.store.registry import Registry"
    results = race(shared_store.place, program, imports=imports)
    numbers = [number for numbers in results for number in numbers]
    assert sorted(numbers) == list(range(1, 41))


# --- visibility ---


def test_a_version_is_invisible_before_its_manifest(registry: Registry, publish: Publish) -> None:
    publish()
    number = registry.claim("digits", "r", "k")
    registry.store.put(f"{registry.prefix('digits', number)}/model.json", b"{}")
    assert [info.version for info in registry.versions("digits")] == [1]
    for reference in (f"digits@{number}", "digits@99"):
        with pytest.raises(ConfigError, match="no version digits@"):
            registry.find(reference)
    registry.publish(make_manifest("digits", number))
    assert [info.version for info in registry.versions("digits")] == [1, 2]
    assert registry.find(f"digits@{number}").version == number


def test_a_published_version_never_changes(registry: Registry) -> None:
    registry.publish(make_manifest("digits", 1, run="first"))
    registry.publish(make_manifest("digits", 1, run="second"))
    assert registry.manifest("digits", 1).run == "first"


def test_versions_are_listed_by_number_with_status_and_channel(
    registry: Registry, publish: Publish
) -> None:
    for status in ("promote", "hold", "block", "promote", *["hold"] * 7):
        publish(verdict={"status": status, "reasons": []})
    publish(metrics={"n": 3})
    for version in (1, 4):
        promote(registry, version)
    rows = registry.versions("digits")
    assert [row.version for row in rows] == list(range(1, 13))  # 10 comes after 9
    assert [row.status for row in rows[:4]] == ["promoted", "held", "blocked", "promoted"]
    assert [row.version for row in rows if row.channels] == [4]
    assert rows[3].channels == ("champion",)
    assert (rows[0].accuracy, rows[11].accuracy) == (0.97, None)
    assert rows[0].to_json()["created"] == "2030-01-02T03:04:05Z"


def test_a_blocked_version_promoted_by_hand_counts_as_promoted(
    registry: Registry, publish: Publish
) -> None:
    publish(verdict={"status": "block", "reasons": []})
    entry = registry.promote("digits", 1, "I know better", after=None, by_hand=True)
    assert entry is not None
    assert entry.value["reason"] == "I know better"
    assert entry.value["by"] not in ("", "gate")
    assert [row.status for row in registry.versions("digits")] == ["promoted"]


def test_a_store_without_models_is_empty(registry: Registry) -> None:
    assert registry.names() == []
    assert registry.versions("digits") == []
    assert registry.champion("digits") is None


# --- references ---


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("digits", ("digits", None)),
        ("digits@champion", ("digits", None)),
        ("digits@3", ("digits", 3)),
        ("digits@0010", ("digits", 10)),
        ("7-segment_x@1", ("7-segment_x", 1)),
    ],
)
def test_a_reference_is_taken_apart(reference: str, expected: tuple[str, int | None]) -> None:
    assert parse_reference(reference) == expected


@pytest.mark.parametrize(
    "reference",
    ["", "@", "@3", "digits@", "digits@v3", "digits@-1", "digits@1.0", "digits@challenger",
     "Digits@1", "digits@1@2", "digits @1", "digits@1\n", "../x@1", "a/b@1", "digits@٣"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(ConfigError, match="not a model reference"):
        parse_reference(reference)


def test_an_unknown_model_names_the_nearest(registry: Registry, publish: Publish) -> None:
    publish("digits")
    with pytest.raises(ConfigError, match="no model called 'digit'") as caught:
        registry.find("digit@1")
    assert "'digits'" in caught.value.remedy


def test_in_an_empty_workspace_the_advice_is_to_train(registry: Registry) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.find("digits")
    assert "train" in caught.value.remedy
    assert caught.value.facts["workspace"] == registry.store.url


def test_a_model_without_champion_says_how_to_get_one(registry: Registry, publish: Publish) -> None:
    publish()
    for reference in ("digits", "digits@champion"):
        with pytest.raises(ConfigError, match="no champion yet") as caught:
            registry.find(reference)
        assert "models promote" in caught.value.remedy
    promote(registry, 1)
    assert registry.find("digits").version == registry.find("digits@champion").version == 1


def test_a_damaged_manifest_is_not_taken_for_a_missing_one(
    registry: Registry, publish: Publish
) -> None:
    publish()
    registry.store.put("models/digits/versions/1/manifest.json", b"{")
    with pytest.raises(IntegrityError, match="manifest is damaged"):
        registry.find("digits@1")


# --- runs ---


def test_racing_runs_are_all_recorded(registry: Registry) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: registry.record_run("digits", run_record(version=n)), range(12)))
    numbers = [entry.value["version"] for entry in registry.runs("digits").history()]
    assert sorted(numbers) == list(range(12))


@pytest.mark.parametrize("key", sorted(run_record()))
def test_a_record_of_a_run_that_lacks_something_is_damaged(registry: Registry, key: str) -> None:
    record = run_record()
    registry.record_run("digits", record)
    assert registry.runs("digits").latest() == Entry(1, record)
    del record[key]
    registry.store.put("models/digits/runs/000001.json", readable_json(record))
    with pytest.raises(IntegrityError, match="damaged") as caught:
        registry.runs("digits").latest()
    assert caught.value.facts["key"] == "models/digits/runs/000001.json"


def test_a_champion_without_version_is_damaged(registry: Registry) -> None:
    key = "models/digits/channels/champion/000001.json"
    registry.store.put(key, b'{"since": "2030-01-02T03:04:05Z", "reason": "x", "by": "gate"}')
    for use in (registry.champion, registry.versions, registry.before_champion):
        with pytest.raises(IntegrityError, match="damaged") as caught:
            use("digits")
        assert caught.value.facts["key"] == key
