"""Checkpoints: all that the next step of a training depends on, to go on from as if undisturbed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A training after some step.

    Attributes:
        step: how many steps are done.
        arrays: weights, moments, averages, the order of rows; by name.
        facts: everything else, JSON-able: generators' states, losses, history.
    """

    step: int
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]


class Checkpoints(Protocol):
    """Where a training leaves its checkpoints; only the newest one counts."""

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there is none."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a checkpoint in place of the one before; at every moment one of them is whole."""
        ...


class NoCheckpoints:
    """For trainings that are short, or whose loss would not matter."""

    def load(self) -> Checkpoint | None:
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        pass


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """The state of a generator, JSON-able."""
    return dict(rng.bit_generator.state)


def restore_generator(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    """The inverse of `generator_state`."""
    rng.bit_generator.state = dict(state)
