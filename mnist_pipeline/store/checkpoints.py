"""Checkpoints of a training in the store: arrays as safetensors, the rest as JSON that names them.

They lie below `checkpoints/<stage key>/`: whoever trains the same on the same goes on from them,
whichever run that is.
"""

from __future__ import annotations

import json
from typing import Any

from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from mnist_pipeline.model.checkpoint import Checkpoint
from mnist_pipeline.refs import Ref, digest_of, readable_json, sha256
from mnist_pipeline.store.objects import ObjectMissingError, Store

CHECKPOINTS = "checkpoints"


class StoredCheckpoints:
    """The checkpoints of one training.

    Args:
        store: the workspace.
        name: what makes the training this one; a stage key.
        fresh: the training begins at its beginning, whatever others left there.
    """

    def __init__(self, store: Store, name: str, *, fresh: bool = False) -> None:
        self._store, self._folder = store, f"{CHECKPOINTS}/{name}"
        self._fresh = fresh

    @property
    def _record(self) -> str:
        return f"{self._folder}/checkpoint.json"

    def load(self) -> Checkpoint | None:
        """The newest checkpoint; None if there is none, if it is damaged, or to begin afresh."""
        if self._fresh:
            return None
        try:
            record: dict[str, Any] = json.loads(self._store.get(self._record))
            if record.pop("digest") != digest_of(record):
                return None
            ref = Ref.from_json(record["arrays"])
            data = self._store.get(ref.key)
        except (ObjectMissingError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if sha256(data) != ref.digest:
            return None
        return Checkpoint(record["step"], load_tensors(data), record["facts"])

    def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a checkpoint: the arrays first, then the record that makes them count."""
        arrays = dict(checkpoint.arrays)
        ref = self._store.put(f"{self._folder}/{checkpoint.step}.safetensors", save_tensors(arrays))
        record = {"step": checkpoint.step, "arrays": ref.to_json(), "facts": checkpoint.facts}
        digest = digest_of(record)  # a changed number in it would change the model, unseen
        self._store.put(self._record, readable_json(record | {"digest": digest}))
        self._fresh = False  # what lies there is its own now
        for info in self._store.list(self._folder):
            if info.key not in (ref.key, self._record):
                self._store.delete(info.key)

    def clear(self) -> None:
        """The training has ended: the record goes first, then what it names."""
        self._store.delete(self._record)
        for info in self._store.list(self._folder):
            self._store.delete(info.key)
