"""Housekeeping: what stays, what goes, in which order, and what happens if it is broken off."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_samples import make_manifest, run_record
from workspace_samples import (
    GRACE,
    D,
    claim,
    gc,
    keys,
    make_older,
    names,
    put_dataset,
    put_exam,
    put_part,
    put_run,
)

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.bundles import why_unusable
from mnist_pipeline.store.exams import exam_key, freeze_exam, set_exam
from mnist_pipeline.store.housekeeping import KINDS
from mnist_pipeline.store.memo import recall
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.survey import Policy


def test_what_a_version_names_stays_for_ever(world: Store) -> None:
    named = {key for key in keys(world) if not key.startswith(("stages", "quarantine", "runs"))}
    swept = gc(world, after=timedelta(days=10_000))
    assert keys(world) == named | {"runs/r1/stages/01-ingest.json"}
    assert names(swept) == {"memos": ["m1"], "runs": ["r1"], "quarantine": ["r1"]}
    assert why_unusable(world, "digits", 1) is None
    assert names(gc(world, after=timedelta(days=10_000))) == {}


@pytest.mark.parametrize("status", ["hold", "block"])
def test_no_version_goes_whatever_its_verdict(world: Store, status: str) -> None:
    registry = Registry(world)
    put_dataset(world, "2" * 64, "p3")
    number = registry.claim("digits", "r2", "key")
    verdict = {"status": status, "reasons": ["not_better: by nothing"]}
    registry.publish(make_manifest("digits", number, dataset="2" * 64, verdict=verdict))
    gc(world)
    assert registry.manifest("digits", number).verdict["status"] == status
    assert world.exists("parts/p3/part.parquet")


def test_nothing_goes_within_the_grace_period(world: Store) -> None:
    put_dataset(world, "0" * 64, "orphan")
    put_exam(world, "f" * 64)
    put_run(world, "r2", "m2")
    Registry(world).claim("digits", "r3", "key")
    before = keys(world)
    swept = gc(world, after=GRACE - timedelta(minutes=1))
    assert names(swept) == {}
    assert keys(world) == before


def test_orphans_go_each_of_its_kind(world: Store) -> None:
    put_dataset(world, "0" * 64, "orphan", "p1")  # p1 is the version's as well
    put_part(world, "lonely")
    put_exam(world, "f" * 64)
    world.put(exam_key("9" * 64), b"rows without a record")
    swept = gc(world)
    assert names(swept) == {
        "memos": ["m1"],
        "runs": ["r1"],
        "quarantine": ["r1"],
        "datasets": ["0" * 64, f"i{'0' * 63}.index.parquet"],
        "parts": ["lonely", "orphan"],
        "exams": ["9" * 64, "f" * 64],
    }
    assert not any("orphan" in key or "lonely" in key or "f" * 64 in key for key in keys(world))
    assert world.exists("parts/p1/part.parquet")
    sizes = dict(swept.removed["parts"])
    assert sizes["lonely"] == len("{}") + len("rejected") + len("lonely")


def test_folders_go_with_what_was_in_them(folder_store: Store) -> None:
    put_part(folder_store, "lonely")
    put_run(folder_store, "r1")
    gc(folder_store)
    assert folder_store.root
    left = [path.name for path in folder_store.root.rglob("*")]
    assert not {"lonely", "r1", "bundle"} & set(left)


def test_a_dry_run_says_the_same_and_removes_nothing(world: Store) -> None:
    put_dataset(world, "0" * 64, "orphan")
    put_run(world, "r2", "m2")
    Registry(world).claim("digits", "r3", "key")
    before = keys(world)
    looked = gc(world, dry_run=True)
    assert keys(world) == before
    removed = gc(world)
    assert names(looked) == names(removed) != {}
    assert looked.to_json()["bytes"] == removed.to_json()["bytes"] > 0
    assert len(keys(world)) < len(before)


def test_the_json_has_every_kind_and_adds_up(world: Store) -> None:
    answer = gc(world).to_json()
    assert tuple(answer["removed"]) == KINDS
    assert answer["count"] == sum(kind["count"] for kind in answer["removed"].values()) == 3
    assert answer["bytes"] == sum(kind["bytes"] for kind in answer["removed"].values())
    assert answer["removed"]["parts"] == {"count": 0, "bytes": 0, "names": []}


def test_the_newest_runs_stay_whole_with_the_data_they_saw(store: Store) -> None:
    for number in range(4):
        put_run(store, f"2030010{number}T000000Z-aa", f"m{number}")
        put_dataset(store, str(number) * 64, f"p{number}")
        seen = readable_json({"dataset": str(number) * 64})
        store.put(f"runs/2030010{number}T000000Z-aa/dataset.json", seen)
    swept = gc(store, Policy(GRACE, keep_runs=2))
    assert (
        names(swept)["runs"]
        == names(swept)["quarantine"]
        == [
            "20300100T000000Z-aa",
            "20300101T000000Z-aa",
        ]
    )
    assert names(swept)["memos"] == ["m0", "m1"]
    assert names(swept)["parts"] == ["p0", "p1"]
    assert recall(store, "m1") is None
    assert recall(store, "m2") is not None


def test_rejected_rows_of_runs_that_are_gone_go(store: Store) -> None:
    store.put("quarantine/r0/rejected.parquet", b"rows")
    assert names(gc(store)) == {"quarantine": ["r0"]}


def test_a_memo_that_somebody_has_used_lately_keeps_its_objects(folder_store: Store) -> None:
    put_run(folder_store, "r1", "used")
    put_run(folder_store, "r2", "forgotten")
    make_older(folder_store, hours=48)
    assert recall(folder_store, "used") is not None
    swept = gc(folder_store, after=timedelta(0))
    assert names(swept) == {
        "memos": ["forgotten"],
        "runs": ["r1", "r2"],
        "quarantine": ["r1", "r2"],
    }
    assert folder_store.exists("runs/r1/bundle/model.json")
    assert not folder_store.exists("runs/r1/stages/01-ingest.json")
    assert recall(folder_store, "used") is not None


@pytest.mark.parametrize("memo", [b"{", b"[]", b'{"outputs": 7}', b'{"outputs": {}}'])
def test_old_memos_that_lead_nowhere_go(store: Store, memo: bytes) -> None:
    store.put("stages/m1.json", memo)
    assert names(gc(store, Policy(GRACE, keep_runs=9))) == {"memos": ["m1"]}


def test_a_memo_whose_objects_are_gone_goes_before_its_run(store: Store) -> None:
    put_run(store, "r1", "m1")
    store.delete("runs/r1/bundle/model.json")
    assert names(gc(store, Policy(GRACE, keep_runs=9))) == {"memos": ["m1"]}


def test_exams_that_somebody_can_still_be_asked_about_stay(world: Store) -> None:
    registry = Registry(world)
    set_exam(world, "digits", put_exam(world, "a" * 64), "better")  # E is a former one now
    put_exam(world, "b" * 64)  # offered by a verdict
    put_exam(world, "c" * 64)
    reasons = [f"exam_changed: the sources bring test rows of their own ({'b' * 12}), but …"]
    number = registry.claim("digits", "r2", "key")
    verdict = {"status": "hold", "reasons": reasons}
    registry.publish(make_manifest("digits", number, verdict=verdict, exam="a" * 64))
    freeze_exam(world, "letters", put_exam(world, "f" * 64))  # a name without a version yet
    assert names(gc(world))["exams"] == ["c" * 64]


def test_an_abandoned_claim_goes_with_its_files(world: Store, dead_pid: int) -> None:
    folder = claim(world, pid=dead_pid)
    assert names(gc(world))["claims"] == ["digits@2"]
    assert world.list(folder) == []
    assert Registry(world).claim("digits", "r10", "key") == 2


def test_a_claim_from_elsewhere_goes_by_age(world: Store, dead_pid: int) -> None:
    claim(world, pid=dead_pid, host="another-host")
    assert "claims" not in names(gc(world, after=timedelta(hours=23)))
    assert names(gc(world))["claims"] == ["digits@2"]


def test_a_claim_of_a_living_process_stays_however_old(world: Store) -> None:
    folder = claim(world)
    assert "claims" not in names(gc(world, after=timedelta(days=1000)))
    assert world.exists(f"{folder}/model.json")


def test_a_claim_that_cannot_be_read_is_nobodys(world: Store) -> None:
    folder = claim(world)
    world.put(f"{folder}/claim.json", b"{")
    assert names(gc(world))["claims"] == ["digits@2"]


@pytest.mark.parametrize("who", ["champion", "run"])
def test_a_version_whose_manifest_was_lost_is_no_abandoned_claim(world: Store, who: str) -> None:
    registry = Registry(world)
    if who == "champion":
        registry.promote("digits", 1, "first", after=None)
    else:
        registry.record_run("digits", run_record(version=1))
    world.delete("models/digits/versions/1/manifest.json")
    gc(world, after=timedelta(days=1000))
    assert world.exists("models/digits/versions/1/model.safetensors")


@pytest.mark.parametrize(
    "key",
    [
        "models/digits/versions/1/manifest.json",
        "models/digits/exam.json",
        "models/digits/channels/champion/000001.json",
        "models/digits/runs/000001.json",
    ],
)
def test_a_damaged_record_stops_everything(world: Store, key: str) -> None:
    put_dataset(world, "0" * 64, "orphan")
    world.put(key, b"{")
    before = keys(world)
    with pytest.raises(IntegrityError, match="damaged"):
        gc(world)
    assert keys(world) == before


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_where_nobody_knows_which_parts_are_named_all_stay(world: Store, how: str) -> None:
    put_dataset(world, "0" * 64, "orphan")
    if how == "lost":
        world.delete(f"datasets/{D}.json")
    else:
        world.put(f"datasets/{D}.json", b"{")
    swept = gc(world)
    assert "parts" not in names(swept)
    assert world.exists("parts/orphan/part.parquet")
    assert D[:12] in swept.notes[0]


def test_keys_of_no_known_shelf_are_left_alone(world: Store) -> None:
    strangers = ["downloads/mnist/x.gz", "README", "landing/a.csv"]
    for key in strangers:
        world.put(key, b"x")
    gc(world, after=timedelta(days=1000))
    assert all(world.exists(key) for key in strangers)


def test_a_bucket_that_is_empty(store: Store) -> None:
    assert gc(store).to_json()["count"] == 0
