"""How a run speaks while it works; the command line gives these words a face."""

from __future__ import annotations

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class Step:
    """How far a long piece of work is.

    Attributes:
        done, total: in steps, rows or bytes; total 0 if nobody knows.
        unit: what is counted.
        note: a few words beside the bar (loss, accuracy, a file name).
    """

    done: int
    total: int
    unit: str
    note: str = ""


class Reporter(Protocol):
    """Whoever listens to a run."""

    def begin(self, stage: str, what: str) -> None:
        """A stage starts on something."""

    def step(self, step: Step) -> None:
        """The stage has come so far."""

    def end(self, stage: str, result: str, seconds: float, *, reused: bool) -> None:
        """The stage is done; `result` sums it up in a few words."""

    def note(self, text: str) -> None:
        """Something a person should know."""


class Silent:
    """A reporter that says nothing."""

    def begin(self, stage: str, what: str) -> None: ...
    def step(self, step: Step) -> None: ...
    def end(self, stage: str, result: str, seconds: float, *, reused: bool) -> None: ...
    def note(self, text: str) -> None: ...
