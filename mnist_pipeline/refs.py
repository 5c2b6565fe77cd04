"""References: what stages pass to each other instead of arrays, and the digests inside them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Ref:
    """An object in the store: its key, the sha256 of its bytes, its size, its rows if any."""

    key: str
    digest: str
    size: int
    rows: int | None = None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ref:
        return cls(data["key"], data["digest"], data["size"], data.get("rows"))


def canonical_json(value: Any) -> bytes:
    """JSON with one spelling for one value: sorted keys, no spaces, UTF-8; NaN is refused."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def readable_json(value: Any) -> bytes:
    """JSON for people to open: indented, keys in the order given; NaN is refused."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(data: bytes) -> str:
    """The sha256 of bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """The sha256 of a JSON-able value in its canonical spelling."""
    return sha256(canonical_json(value))


def sha256_of_file(path: Path) -> str:
    """The sha256 of a file's bytes, as hex, in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def code_digest() -> str:
    """The sha256 over this package's own source files: part of every stage key."""
    root = Path(__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".toml"):
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(path.read_bytes() + b"\0")
    return total.hexdigest()
