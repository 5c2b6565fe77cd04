"""Kills a small training after its n-th store call, for every n; run by test_crash.py.

    python crash_zygote.py IDX_FOLDER SCRATCH_FOLDER [EVERY]

One process imports everything and forks a child for each run, so that a kill costs milliseconds.
Prints one JSON object: how many kills there were, and what was found wrong after any of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from small import SETTINGS

from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.evaluate import report  # noqa: F401 (imported before the forks)
from mnist_pipeline.pipeline import run_pipeline
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.bundles import verify_version
from mnist_pipeline.store.objects import SCRATCH, Store
from mnist_pipeline.store.registry import Registry

WEAK = ("train.epochs=1", "train.learning_rate=1e-6")


def train(source: str, workspace: Path | str, *settings: str) -> str:
    layers = [parse_setting(setting) for setting in (*SETTINGS, *settings)]
    config = resolve([*layers, {"data": {"sources": [source]}}])
    return run_pipeline(Run(Store.open(workspace), config)).outcome.status


def train_until(call: int, source: str, workspace: Path) -> str:
    """A training that kills itself right after its `call`-th store call."""
    calls = 0

    def count(_store: Store, _operation: str, _key: str) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)

    Store._called = count  # type: ignore[method-assign]
    return train(source, workspace)


Child = tuple[int, int]
"""Its process number, and where its answer can be read."""


def begun(work: Callable[[], str]) -> Child:
    """Begins `work` in a child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = work()
        except BaseException:
            answer = traceback.format_exc()
        os.write(write, answer.encode()[-2000:])
        os._exit(0)
    os.close(write)
    return child, read


def ended(child: Child) -> tuple[int, str]:
    """Waits for a child: the signal that ended it (or 0), and what its work returned."""
    with os.fdopen(child[1]) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child[0], 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, answer


def forked(work: Callable[[], str]) -> tuple[int, str]:
    """Runs `work` in a child, see `ended`."""
    return ended(begun(work))


def inspect(workspace: Path | str) -> None:
    """What is visible must be whole: every version verifies, the champion is one of them."""
    store = Store.open(workspace)
    registry = Registry(store)
    for name in registry.names():
        visible = {info.version for info in registry.versions(name)}
        for version in visible:
            verify_version(store, registry.manifest(name, version))
        champion = registry.champion(name)
        assert champion is None or champion.value["version"] in visible, "champion is invisible"


def aftermath(source: str, workspace: Path) -> str:
    """Looks at what a kill left, runs again, looks again."""
    inspect(workspace)
    status = train(source, workspace)
    inspect(workspace)
    if status not in ("promoted", "unchanged"):
        return f"the next run ended {status}"
    if any((workspace / SCRATCH).iterdir()):
        return "scratch of a dead process was left"
    return "ok"


def main() -> None:
    source = f"idx:{sys.argv[1]}"
    scratch = Path(sys.argv[2])
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    base = scratch / "base"
    forked(lambda: train(source, base, *WEAK))  # a weak champion, to be replaced
    wrong: list[str] = []
    kills = 0
    for start in (None, base):
        call = 1
        while True:
            workspace = scratch / "workspace"
            shutil.rmtree(workspace, ignore_errors=True)
            if start:
                shutil.copytree(start, workspace)
            signalled, answer = forked(lambda: train_until(call, source, workspace))
            if not signalled:
                if answer != "promoted":
                    wrong.append(f"undisturbed: {answer}")
                break
            kills += 1
            place = f"{'second' if start else 'first'} run killed after call {call}"
            answer = forked(lambda: aftermath(source, workspace))[1]
            if answer != "ok":
                wrong.append(f"{place}: {answer}")
            call += every
    print(json.dumps({"kills": kills, "wrong": wrong}))


if __name__ == "__main__":
    main()
