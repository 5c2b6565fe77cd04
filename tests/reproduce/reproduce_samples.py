"""A workspace seen from outside, and manifests with something altered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_pipeline.reporting import Silent
from mnist_pipeline.reproduce.reproduction import Reproduction, reproduce
from mnist_pipeline.store.objects import Store


def again(workspace: Path, reference: str = "digits@1", **options: Any) -> Reproduction:
    return reproduce(Store.open(workspace, writable=False), reference, reporter=Silent(), **options)


def statuses(found: Reproduction) -> list[str]:
    return [stage.status for stage in found.stages]


def state_of(workspace: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of a workspace: when it was written, and what is in it."""
    return {
        str(path.relative_to(workspace)): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(workspace.rglob("*"))
    }


def alter_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def alter_manifest(
    workspace: Path, change: Callable[[dict[str, Any]], object], version: int = 1
) -> None:
    alter_json(workspace / f"models/digits/versions/{version}/manifest.json", change)


def change_one_byte(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place if place >= 0 else len(data) // 2] ^= 1
    path.write_bytes(data)
