"""Where the time of a training goes, and how much of the machine's arithmetic it reaches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mnist_pipeline.model.threads import single_threaded_blas

PHASES = {
    "rows": "gathered, bent, normalized",
    "gradient": "forward and backward",
    "update": "the optimizer, averages, checks",
    "evaluation": "accuracies, once an epoch",
    "checkpoints": "states kept to go on from",
}

SIDE = 1024
"""Side of the square matrices whose product says what the machine can do."""


class Laps:
    """Seconds by phase: each lap takes the time since the one before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def start(self) -> None:
        """What has passed until now belongs to nothing."""
        self._since = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What has passed since the last lap belongs to `phase`."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a training did with its time.

    Attributes:
        seconds: by phase; those of all threads added up, so they may be more than the clock's.
        steps: how many were run.
        operations: floating-point operations of the matrix products; None where a model does not
            count them.
    """

    seconds: Mapping[str, float]
    steps: int
    operations: int | None

    @classmethod
    def of(cls, laps: Iterable[Laps], steps: int, operations: int | None) -> Profile:
        """The sum over threads."""
        laps = list(laps)
        seconds = {
            phase: round(sum(each.seconds.get(phase, 0.0) for each in laps), 3) for phase in PHASES
        }
        return cls(seconds, steps, operations)

    @classmethod
    def together(cls, profiles: Sequence[Profile]) -> Profile:
        """Of several trainings as one."""
        seconds = {
            phase: round(sum(each.seconds[phase] for each in profiles), 3) for phase in PHASES
        }
        counted = [each.operations for each in profiles if each.operations is not None]
        operations = sum(counted) if len(counted) == len(profiles) else None
        return cls(seconds, sum(each.steps for each in profiles), operations)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def lines(self, sgemm: float) -> list[str]:
        """For people: a line a phase.

        Args:
            sgemm: what `sgemm_rate` measured on this machine, in GFLOP/s.
        """
        total = sum(self.seconds.values()) or 1.0
        lines = [f"{self.steps:,} steps, {1e6 * total / max(1, self.steps):,.0f} µs each"]
        for phase, meaning in PHASES.items():
            seconds = self.seconds.get(phase, 0.0)
            lines.append(f"{phase:<12}{seconds:>9.2f} s {seconds / total:>5.0%}  {meaning}")
        if self.operations and self.seconds.get("gradient"):
            rate = self.operations / self.seconds["gradient"] / 1e9
            lines.append(
                f"products ran at {rate:,.0f} GFLOP/s while in `gradient`: {rate / sgemm:.0%} of "
                f"the {sgemm:,.0f} that one core here reaches"
            )
        return lines


def sgemm_rate() -> float:
    """What one core reaches in a large product of float32 matrices, in GFLOP/s."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out, best = np.empty_like(a), 0.0
    with single_threaded_blas():
        for _ in range(8):
            started = time.perf_counter()
            np.matmul(a, b, out=out)
            best = max(best, 2 * SIDE**3 / (time.perf_counter() - started))
    return best / 1e9
