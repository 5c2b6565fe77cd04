"""Two runs at once: both land, as two versions, and there is one champion."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small import PLACES, train_words

from mnist_pipeline.stages import publish
from mnist_pipeline.store.bundles import why_unusable
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry


@pytest.mark.parametrize("place", PLACES, indirect=True)
@pytest.mark.parametrize("seeds", [(1, 2), (3, 3)], ids=["two seeds", "the same twice"])
def test_the_champion_moves_between_judging_and_promoting(
    seeds: tuple[int, int], train, idx_folder: Path, place: str, monkeypatch
) -> None:
    judged = threading.Barrier(2, timeout=60)
    first_time = threading.local()
    judge = publish.judge

    def judge_together(*arguments):
        verdict = judge(*arguments)
        if not getattr(first_time, "over", False):
            first_time.over = True
            judged.wait()  # now both have seen that there is no champion
        return verdict

    monkeypatch.setattr(publish, "judge", judge_together)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(train, f"idx:{idx_folder}", f"train.seed={seed}") for seed in seeds]
        outcomes = [run.result().outcome for run in runs]

    store = Store.open(place)
    registry = Registry(store)
    assert sorted(outcome.version for outcome in outcomes) == [1, 2]
    versions = registry.versions("digits")
    assert [info.version for info in versions] == [1, 2]
    assert sum("champion" in info.channels for info in versions) == 1
    assert all(why_unusable(store, "digits", n) is None for n in (1, 2))

    # Whoever came second was judged again, against the new champion.
    promoted = [outcome for outcome in outcomes if outcome.status == "promoted"]
    history = registry.champions("digits").history()
    assert len(history) == len(promoted)
    assert len(registry.runs("digits").history()) == 2
    if seeds[0] == seeds[1]:
        assert sorted(outcome.status for outcome in outcomes) == ["held", "promoted"]


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_two_processes_at_once(idx_folder: Path, place: str) -> None:
    program = str(Path(sys.executable).with_name("mnist-pipeline"))
    command = [program, *train_words(idx_folder, place)]
    processes = [
        subprocess.Popen([*command, "--seed", seed], stdout=subprocess.PIPE) for seed in "12"
    ]
    answers = [json.loads(process.communicate()[0]) for process in processes]
    assert sorted(answer["version"] for answer in answers) == [1, 2]
    champion = Registry(Store.open(place)).find("digits@champion")
    assert champion.version in (1, 2)
