"""The last scoring with each model: `models/<name>/scoring.json`, replaced by the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mnist_pipeline.errors import IntegrityError
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.objects import Store


def record_scoring(store: Store, model: str, scoring: Mapping[str, Any]) -> None:
    """Writes what came of a scoring; the last one counts."""
    store.put(_key(model), readable_json(dict(scoring)))


def last_scoring(store: Store, model: str) -> dict[str, Any] | None:
    """What came of the last scoring, if it is known."""
    try:
        value = json.loads(store.get(_key(model)))
    except (IntegrityError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _key(model: str) -> str:
    return f"models/{model}/scoring.json"
