"""What is known of an object without its bytes."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any


@dataclasses.dataclass(frozen=True)
class ObjectInfo:
    """What a listing says about an object.

    Attributes:
        modified: when it was written; HTTP tells it to the second.
        tag: what every write of other bytes changes; empty where the server has none.
    """

    key: str
    size: int
    modified: datetime
    tag: str = ""

    @classmethod
    def of(cls, entry: Any) -> ObjectInfo:
        """What obstore tells of an object in a listing, or beside its bytes."""
        tag = (entry["e_tag"] or "").removeprefix("W/").strip('"')  # Azure lists it unquoted
        return cls(entry["path"], entry["size"], entry["last_modified"], tag)

    @property
    def stamp(self) -> tuple[int, int | str]:
        """Size, and tag or else time in ns, to the second: what shows that it was replaced."""
        return self.size, self.tag or int(self.modified.timestamp()) * 1_000_000_000
