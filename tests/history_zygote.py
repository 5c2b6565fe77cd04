"""Random histories of a workspace, with gc in them; run by test_gc_histories.py.

    python history_zygote.py SCRATCH_FOLDER FIRST_SEED HISTORIES STEPS

A step trains on some data, or is killed while it trains; collects garbage, or is killed while it
does; rolls back; or lets a day go by. Whatever happened: every manifest verifies, and so does all
that it names. At the end some version is made again. Prints one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
from crash_zygote import forked, inspect, train
from small import write_idx

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.refs import Ref
from mnist_pipeline.reporting import Silent
from mnist_pipeline.reproduce.reproduction import reproduce
from mnist_pipeline.sources.synthetic import draw_digits
from mnist_pipeline.store.exams import exam_key
from mnist_pipeline.store.housekeeping import sweep
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.survey import Policy

HOURS = 3600


def kill_after(call: int) -> None:
    """Kills this process right after its `call`-th store call."""
    calls = 0

    def count(_store: Store, _operation: str, _key: str) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)

    Store._called = count  # type: ignore[method-assign]


def let_time_go_by(workspace: Path, hours: float) -> None:
    """Makes everything in a workspace older."""
    for path in workspace.rglob("*"):
        then = path.lstat().st_mtime - hours * HOURS
        os.utime(path, (then, then))


def collect(workspace: Path, keep_runs: int, grace: float) -> str:
    swept = sweep(Store.open(workspace), Policy(timedelta(hours=grace), keep_runs), dry_run=False)
    return str(swept.to_json()["count"])


def roll_back(workspace: Path) -> str:
    try:
        Registry(Store.open(workspace)).rollback("digits", "for a change")
    except ConfigError:
        return "nothing to go back to"
    return "ok"


def inspect_all(workspace: Path) -> str:
    """Versions verify, and so does all that their manifests name."""
    inspect(workspace)
    store = Store.open(workspace)
    registry = Registry(store)
    for info in registry.versions("digits"):
        manifest = registry.manifest("digits", info.version)
        record = json.loads(store.get(f"datasets/{manifest.dataset}.json"))
        for part in record["parts"]:
            assert store.verifies(Ref.from_json(part)), part
        assert store.verifies(Ref.from_json(record["index"]))
        assert store.exists(exam_key(str(manifest.exam)))
        assert store.exists(f"runs/{manifest.run}/stages/01-ingest.json")
    return "ok"


def reproduce_one(workspace: Path, choice: float) -> str:
    store = Store.open(workspace, writable=False)
    versions = Registry(store).versions("digits")
    if not versions:
        return "ok"
    version = versions[int(choice * len(versions))].version
    found = reproduce(store, f"digits@{version}", reporter=Silent())
    return str(found.error or "ok")


@dataclasses.dataclass
class History:
    """One workspace and what happened to it."""

    workspace: Path
    sources: list[str]
    chance: random.Random
    steps: list[str] = dataclasses.field(default_factory=list)

    def step(self) -> None:
        """Does something at random, and looks whether all is well."""
        chance, workspace = self.chance, self.workspace
        what = chance.choice(
            ["train", "train", "killed", "collect", "collect", "killed gc", "back", "day"]
        )
        source = chance.choice(self.sources)
        settings = (f"train.seed={chance.randrange(3)}", f"train.epochs={chance.randrange(1, 3)}")
        settings += (f"data.use_exam={chance.choice(['true', 'true', 'false'])}",)
        settings += ("data.validation_fraction=0.2", "data.min_class_share=0")
        keep, grace = chance.choice([0, 1, 3]), chance.choice([0.0, 24.0])
        call = chance.randrange(1, 100)

        def work() -> str:
            if what.startswith("killed"):
                kill_after(call)
            if what in ("train", "killed"):
                return train(source, workspace, *settings)
            if what in ("collect", "killed gc"):
                return collect(workspace, keep, grace)
            if what == "back":
                return roll_back(workspace)
            let_time_go_by(workspace, 30)
            return "ok"

        signalled, answer = forked(work)
        self.steps.append(f"{what} {'†' if signalled else answer}")
        seen = forked(lambda: inspect_all(workspace))[1]
        if "Traceback" in answer or seen != "ok":
            raise AssertionError(f"{self.steps}: {answer} {seen}")


def main() -> None:
    scratch, first, histories, steps = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    sources = []
    for number in range(3):
        labels = random.Random(number).choices(range(10), k=240)
        answers = np.array(labels, np.uint8)
        images = draw_digits(answers, np.random.default_rng(number))
        write_idx(scratch / f"data{number}", "train", images, answers)
        sources.append(f"idx:{scratch / f'data{number}'}")
    wrong: list[str] = []
    done: Counter[str] = Counter()
    for seed in range(first, first + histories):
        workspace = scratch / "workspace"
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
        history = History(workspace, sources, random.Random(seed))
        try:
            for _ in range(steps):
                history.step()
            answer = forked(lambda: reproduce_one(workspace, history.chance.random()))[1]
            if answer != "ok":
                wrong.append(f"{history.steps}: {answer}")
        except AssertionError as error:
            wrong.append(f"seed {seed}: {error}")
        done.update(step.partition(" ")[0] for step in history.steps)
        done["removed"] += sum(
            int(step.split()[-1]) for step in history.steps if step.startswith("collect")
        )
    print(json.dumps({"steps": done, "wrong": wrong}))


if __name__ == "__main__":
    main()
