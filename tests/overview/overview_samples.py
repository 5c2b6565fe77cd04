"""Workspaces to be looked at: one with a history, one with hostile words, an empty one."""

from __future__ import annotations

from mnist_pipeline.overview.state import ModelState, State
from mnist_pipeline.store.endings import Ending
from mnist_pipeline.store.registry import VersionInfo

HOSTILE = '<script>alert("x")</script>&\x1b[31m\u202e'
REASON = "not_better: accuracy 98.10 % → 98.20 %; 12 of the 9,000 rows; p = 0.3"


def versions(name: str, count: int) -> list[VersionInfo]:
    """Newest first; the one before the newest is champion."""
    return [
        VersionInfo(
            name,
            number,
            f"2030-01-{number:02d}T03:04:05Z",
            0.9 + number / 1000,
            "held" if number == count else "promoted",
            ("champion",) if number == count - 1 else (),
        )
        for number in range(count, 0, -1)
    ]


def model(name: str = "digits", count: int = 9) -> ModelState:
    rows = versions(name, count)
    scoring = {
        "version": count - 1,
        "finished": "2030-01-09T06:00:00Z",
        "rows": 1_200_000,
        "drift": {"score": 0.31, "distances": {"ink": 0.31}, "n": 1_200_000},
    }
    reign = {"since": "2030-01-08T03:04:05Z", "reason": "better_than_champion: x", "by": "gate"}
    return ModelState(name, rows[1], reign, rows, scoring)


def runs() -> list[Ending]:
    """One of each kind, newest first."""
    kinds = ("held", "unchanged", "failed", "interrupted", "killed", "blocked", "promoted")
    return [
        Ending(
            f"203001{20 - n:02d}T030000Z-abcdef{n:02d}",
            "digits",
            kind,
            (REASON,) if kind in ("held", "blocked", "promoted", "unchanged") else (),
            9 if kind in ("held", "unchanged") else None,
            f"2030-01-{20 - n:02d}T03:01:00Z",
            "models/digits/versions/9/report.html" if kind == "held" else None,
            {"remedy": "mend it"} if kind == "failed" else None,
        )
        for n, kind in enumerate(kinds)
    ]


def history() -> State:
    return State("/srv/workspace", [model()], runs())


def empty() -> State:
    return State("/srv/workspace", [], [])


def hostile() -> State:
    """Nothing of it may be taken for markup, and nothing of it can be broken but by force."""
    long = HOSTILE + "w" * 200
    last = Ending("20300120T030000Z-abcdef00", long, "failed", (long, f"{long}: {long}"), 7)
    broken = ModelState(long, damage=long)
    return State(long, [model("w" * 60, 30), broken], [last, *runs()])
