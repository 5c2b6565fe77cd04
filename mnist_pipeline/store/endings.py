"""How runs ended, good or bad: `runs/<run>/end.json`, for people who look in the morning.

Finished runs are in the registry's series too, which decides what is unchanged; this record decides
nothing. A run without it was killed, or is still at work.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.owner import Owner

END = "end.json"
SIGN = "at-work.json"
"""The sign of a run that goes on; see `Run.at_work`."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        run: its id, which begins with the time it began.
        model: the model's name; None if that is not known.
        status: `promoted`, `held`, `blocked`, `unchanged`, `failed`, `interrupted`; without a
            record `at work`, `killed` or, where nobody can see its process, `not ended`.
        reasons: `code: sentence` each; of a failed run the headline of its error.
        version: the version it made or repeats.
        finished: when, ISO 8601 in UTC.
        report: the key of the report.
        error: what stopped it, as in the `error` object of `--json`.
        published: where else the version went or did not get, as in `published` of `--json`.
    """

    run: str
    model: str | None
    status: str
    reasons: tuple[str, ...] = ()
    version: int | None = None
    finished: str | None = None
    report: str | None = None
    error: Mapping[str, Any] | None = None
    published: Sequence[Mapping[str, Any]] = ()

    @property
    def began(self) -> str:
        """When it began, ISO 8601 in UTC."""
        day, _, time = self.run[:15].partition("T")
        return f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"

    @property
    def why(self) -> str:
        """The reason that decided: that a floor was passed never does; and what is missing."""
        deciding = [each for each in self.reasons if not each.startswith("above_floors: ")]
        missing = [str(each["to"]) for each in self.published if not each["ok"]]
        words = (f"; not published to {', '.join(missing)}") if missing else ""
        return (deciding or [*self.reasons, ""])[0] + words

    def to_json(self) -> dict[str, Any]:
        return {"began": self.began, **dataclasses.asdict(self)}


def record_ending(store: Store, ending: Ending) -> None:
    """Writes how a run ended."""
    store.put(f"runs/{ending.run}/{END}", readable_json(dataclasses.asdict(ending)))


def newest_endings(store: Store, most: int) -> list[Ending]:
    """How the newest runs ended, newest first."""
    return [_ending(store, run) for run in reversed(store.children("runs")[-most:])]


def _ending(store: Store, run: str) -> Ending:
    try:
        value = json.loads(store.get(f"runs/{run}/{END}"))
        lists = {key: tuple(value.get(key, ())) for key in ("reasons", "published")}
        return Ending(**{**value, "run": run, **lists})
    except (IntegrityError, ValueError, KeyError, TypeError):
        pass  # it has no record, or none that can be read: its sign tells what is left to tell
    try:
        sign = json.loads(store.get(f"runs/{run}/{SIGN}"))
        owner, model = Owner.from_json(sign["owner"]), str(sign["model"])
    except (IntegrityError, ValueError, KeyError, TypeError):
        return Ending(run, None, "not ended")
    status = "not ended" if not owner.is_known else "killed" if owner.is_gone else "at work"
    return Ending(run, model, status)
