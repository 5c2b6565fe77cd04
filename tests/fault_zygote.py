"""Disturbs a small training at its n-th call of the store, for every n; run by test_faults.py.

    python fault_zygote.py IDX_FOLDER STORE FAULTS FROM EVERY

`STORE` is a folder, or the URL of a bucket on the S3 server of `AWS_ENDPOINT_URL`. `FAULTS` are the
kinds, with commas between them; `error+` is one that begins at the n-th call and does not end while
the training lasts. Prints one JSON object: how often each kind ended how, and what was found wrong
after any of them.

One process imports everything and forks a child for each run, so that a run costs its own work.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
from crash_zygote import WEAK, forked, inspect, train
from wire import Wire, wire_to

from mnist_pipeline.errors import OutsideError
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import backend_at
from mnist_pipeline.store.registry import Registry

BASE = "base"
ENDS = ("promoted", "held", "outside")
"""Held: the champion could not be read, so nobody is promoted over it; the next run asks again."""


def attempt(source: str, workspace: str) -> str:
    """Trains: the verdict, or `outside` where the run says that the store fails."""
    try:
        return train(source, workspace)
    except OutsideError:
        return "outside"


def aftermath(source: str, workspace: str, had_champion: bool) -> str:
    """Looks at what a fault left, runs again, looks again."""
    inspect(workspace)
    registry = Registry(Store.open(workspace))
    if had_champion and registry.champion("digits") is None:
        return "the champion is lost"
    status = train(source, workspace)
    inspect(workspace)
    if status not in ("promoted", "unchanged"):
        return f"the next run ended {status}"
    champions = [entry.value["version"] for entry in registry.champions("digits").history()]
    if sorted(set(champions)) != champions:
        return f"champions were {champions}"
    runs = [entry.value["run"] for entry in registry.runs("digits").history()]
    if len(set(runs)) != len(runs):
        return "a run is on record twice"
    return "ok"


class Folder:
    """Workspaces on disk; what fails is the disk."""

    def __init__(self, place: str) -> None:
        self.place = Path(place)

    def workspace(self, name: str) -> str:
        return str(self.place / name)

    def copy(self, start: str | None, name: str) -> None:
        shutil.rmtree(self.place / name, ignore_errors=True)
        if start:
            shutil.copytree(self.place / start, self.place / name)

    def disturbed(self, fault: str, call: int, work: Callable[[], str]) -> tuple[str, bool]:
        """What came of some work, and whether it came as far as the fault."""

        def in_the_way() -> str:
            calls, explained = 0, Store._explained

            @contextlib.contextmanager
            def failing(store: Store, verb: str, key: str) -> Iterator[None]:
                nonlocal calls
                calls += 1
                strikes = calls == call or (calls > call and fault.endswith("+"))
                with explained(store, verb, key):
                    if strikes and fault.startswith("error"):
                        raise OSError(errno.EIO, "Input/output error")
                    yield
                    if strikes:
                        raise OSError(errno.EIO, "Input/output error")

            Store._explained = failing  # type: ignore[method-assign]
            return f"{work()} {calls >= call}"

        words = forked(in_the_way)[1].rsplit(" ", 1)
        return words[0], words[-1] != "False"


class Bucket:
    """Workspaces in a bucket; what fails is the line to the server."""

    def __init__(self, place: str, wire: Wire) -> None:
        self.place, self.wire = place, wire
        os.environ["AWS_ENDPOINT_URL"] = wire.url

    def workspace(self, name: str) -> str:
        return f"{self.place}/{name}"

    def copy(self, start: str | None, name: str) -> None:
        def copy() -> str:
            backend = backend_at(self.place, "bucket")
            for page in obstore.list(backend, prefix=f"{name}/"):
                obstore.delete(backend, [entry["path"] for entry in page])
            for page in obstore.list(backend, prefix=f"{start}/") if start else ():
                for entry in page:
                    to = name + entry["path"].removeprefix(str(start))
                    obstore.copy(backend, entry["path"], to)
            return ""

        if why := forked(copy)[1]:
            raise RuntimeError(why)

    def disturbed(self, fault: str, call: int, work: Callable[[], str]) -> tuple[str, bool]:
        kind, lasts = fault.removesuffix("+"), fault.endswith("+")
        self.wire.forget()
        self.wire.fault = lambda n, _: kind if n == call or (n > call and lasts) else None
        ended = forked(work)[1]
        reached = self.wire.calls >= call
        self.wire.fault = lambda n, _: None
        return ended, reached


def disturb(place: Folder | Bucket, source: str, faults: list[str], first: int, every: int) -> dict:
    """Every fault at every `every`-th call, in a first run and in one that replaces a champion."""
    wrong: list[str] = []
    ends: Counter[str] = Counter()
    forked(lambda: train(source, place.workspace(BASE), *WEAK))
    for fault in faults:
        for start in (None, BASE):
            call, reached = first, True
            while reached:
                place.copy(start, "tried")
                workspace = place.workspace("tried")
                ended, reached = place.disturbed(fault, call, lambda: attempt(source, workspace))
                where = f"{fault} at call {call} of the {'second' if start else 'first'} run"
                if ended not in ENDS:
                    wrong.append(f"{where}: {ended}")
                ends[f"{fault}: {ended}"] += 1
                after = forked(lambda: aftermath(source, workspace, start is not None))[1]
                if after != "ok":
                    wrong.append(f"{where}: {after}")
                call += every
    return {"ends": ends, "wrong": wrong}


def main() -> None:
    idx, where, faults, first, every = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        if where.startswith("s3://"):
            wire = stack.enter_context(wire_to(os.environ["AWS_ENDPOINT_URL"]))
            place: Folder | Bucket = Bucket(where, wire)
        else:
            place = Folder(where)
        found = disturb(place, f"idx:{idx}", faults.split(","), int(first), int(every))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
