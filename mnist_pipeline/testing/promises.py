"""A promise, what breaks it, and what all plugins promise: options that can be stored."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from mnist_pipeline.errors import told
from mnist_pipeline.guard import BrokenPluginError, is_unexplained
from mnist_pipeline.plugins import info_of
from mnist_pipeline.sources.hand import draw_digits


class BrokenPromiseError(BrokenPluginError):
    """A plugin does not keep a promise of its seam; the headline says which one."""


@dataclasses.dataclass(frozen=True)
class Promises:
    """The promises of one plugin; `promises(holds, "fit returns a dict", found)` checks one."""

    seam: str
    plugin: object

    def __call__(self, holds: object, promise: str, found: object = None) -> None:
        """Raises BrokenPromiseError: it does not hold; `found` is what was found instead."""
        if not holds:
            raise self.broken(promise, found)

    def broken(self, promise: str, found: object = None) -> BrokenPromiseError:
        """The error for a promise that does not hold."""
        info = info_of(self.seam, self.plugin)
        return BrokenPromiseError(
            f"the {self.seam} {(info.name if info else type(self.plugin).__name__)!r} "
            f"breaks a promise: {promise}",
            package=info.origin if info else None,
            found=None if found is None else str(found),
            remedy=f"ask the authors of {info.package}, or remove it" if info else "mend it",
        )

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Inside, the plugin's code runs: an error that nobody explained breaks a promise.

        Raises:
            BrokenPromiseError: as said. PipelineError: the plugin's own, as it is.
        """
        try:
            yield
        except BaseException as error:
            if not is_unexplained(error):
                raise
            raise self.broken(f"{what} goes through without an error", told(error)) from error

    def options(self) -> None:
        """A frozen dataclass whose options come back from JSON as they were."""
        plugin: Any = self.plugin
        is_one = dataclasses.is_dataclass(plugin) and not isinstance(plugin, type)
        self(is_one, "it is an instance of a dataclass of its options", type(plugin).__name__)
        self(plugin.__dataclass_params__.frozen, "the dataclass is frozen")
        with self.working("storing the options as JSON"):
            stored = json.loads(json.dumps(dataclasses.asdict(plugin), allow_nan=False))
            again = TypeAdapter(type(plugin)).validate_python(stored)
        self(again == plugin, "options come back from JSON as they were", again)
        helpless = [f.name for f in dataclasses.fields(plugin) if not described(f)]
        self(not helpless, "options are declared with option(default, help)", helpless)


def described(field: dataclasses.Field[Any]) -> bool:
    """Whether an option says what it is."""
    return bool(field.metadata.get("description")) or not field.init


@functools.cache
def samples(n: int = 60) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Drawn digits, a blank and a full image: images (n, 784) uint8, labels (n,) int64."""
    labels = np.arange(n) % 10
    images = draw_digits(labels.astype(np.uint8), np.random.default_rng(5))
    images[0], images[1] = 0, 255
    images.setflags(write=False)  # who writes into them is told so
    return images, labels
