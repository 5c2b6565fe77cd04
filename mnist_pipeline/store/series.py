"""A series: numbered JSON objects that are only ever appended; the highest number counts.

`append` after the entry one has seen is compare-and-swap: it fails if somebody else was there
first. The series is its own history.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.together import together


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object of a series; `sequence` counts from 1."""

    sequence: int
    value: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Series:
    """The objects `<prefix>/000001.json`, `<prefix>/000002.json` and so on.

    Attributes:
        required: keys without which an entry is damaged.
    """

    store: Store
    prefix: str
    required: tuple[str, ...] = ()

    def _key(self, sequence: int) -> str:
        return f"{self.prefix}/{sequence:06d}.json"

    def sequences(self) -> list[int]:
        """The numbers in use, ascending."""
        names = self.store.children(self.prefix)
        stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def read(self, sequence: int) -> Entry:
        """The entry with a number.

        Raises:
            IntegrityError: it is missing or damaged.
        """
        data = self.store.get(self._key(sequence))
        try:
            value = json.loads(data)
            if not isinstance(value, dict) or not set(self.required) <= set(value):
                raise ValueError("not an entry of this series")
            return Entry(sequence, value)
        except ValueError:
            raise IntegrityError(
                "an entry of a series is damaged",
                key=self._key(sequence),
                remedy="restore this object from a backup",
            ) from None

    def latest(self) -> Entry | None:
        """The entry with the highest number, or None if there is none yet."""
        numbers = self.sequences()
        return self.read(numbers[-1]) if numbers else None

    def history(self) -> list[Entry]:
        """Every entry, oldest first."""
        return together(self.store, self.read, self.sequences())

    def add(self, value: dict[str, Any], seen: Sequence[int] | None = None) -> Entry:
        """Appends behind whatever is the latest now; `seen` are `sequences` of a moment ago."""
        sequence = max(self.sequences() if seen is None else seen, default=0) + 1
        while not self.store.put_if_absent(self._key(sequence), readable_json(value)):
            sequence += 1
        return Entry(sequence, value)

    def append(self, value: dict[str, Any], *, after: Entry | None) -> Entry | None:
        """Appends behind the entry last seen; None if that is no longer the latest."""
        sequence = (after.sequence if after else 0) + 1
        if self.store.put_if_absent(self._key(sequence), readable_json(value)):
            return Entry(sequence, value)
        return None
