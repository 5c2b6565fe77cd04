"""How a run speaks while it works; the command line gives these words a face."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


_SILENT = Silent()
_listener: ContextVar[Reporter] = ContextVar("listener", default=_SILENT)


def listener() -> Reporter:
    """Who listens to runs in this context: nobody, unless `listening` says otherwise."""
    return _listener.get()


@contextmanager
def listening(reporter: Reporter) -> Iterator[None]:
    """Inside, `listener()` is `reporter`: how it reaches a flow, whose parameters are data."""
    token = _listener.set(reporter)
    try:
        yield
    finally:
        _listener.reset(token)
