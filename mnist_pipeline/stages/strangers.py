"""Plugins of other packages, at work in here: held against their promises before they are used.

Normalizers, models and gates are tried on a few drawn digits before a run begins
(`mnist_pipeline.testing`, milliseconds); what a source reads is looked at block by block. Nothing
is asked of the plugins in here: they have their tests.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.contract.records import (
    PartInput,
    Records,
    Role,
    flaw_of_part,
    flaw_of_records,
)
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.guard import BrokenPluginError, calling, received
from mnist_pipeline.plugins import PluginInfo
from mnist_pipeline.testing import check_gate, check_model, check_normalizer

CHECKS: dict[str, Callable[[Any], None]] = {
    "normalizer": check_normalizer,
    "model": check_model,
    "gate": check_gate,
}


def try_out(seam: str, name: str, options: Mapping[str, Any]) -> None:
    """Holds a plugin of another package against the promises of its seam, once a process.

    Raises:
        BrokenPluginError: it breaks one.
    """
    info = plugins.resolve(seam, name)
    members = plugins.build(seam, name, options).member_kinds if seam == "model" else ()
    if any(plugins.is_foreign(seam, each) for each in (name, *members)):
        _try_out(seam, info.name, info.entry_point.value, json.dumps(options, default=str))


@functools.cache
def _try_out(seam: str, name: str, where: str, options: str) -> None:
    del where  # another package may have a plugin of that name later
    with calling(plugins.resolve(seam, name)):  # the promises tell which one is broken, if they can
        CHECKS[seam](plugins.build(seam, name, json.loads(options), bare=True))


@received("source", "parts")
def watched_parts(info: PluginInfo, parts: Any) -> list[PartInput]:
    """The parts of a source of another package, watched while they read."""
    if not isinstance(parts, list):
        raise BrokenPluginError.breach(info, f"parts returns {type(parts).__name__} and no list")
    return [_watched(info, part) for part in parts]


def _watched(info: PluginInfo, part: Any) -> Watched:
    if flaw := flaw_of_part(part):
        raise BrokenPluginError.breach(info, flaw)
    return Watched(part.name, part.role, part.paths, part, info)


@dataclasses.dataclass(frozen=True)
class Watched:
    """A part of another package's source, whose rows are looked at before anybody uses them."""

    name: str
    role: Role
    paths: tuple[Path, ...]
    part: PartInput
    info: PluginInfo

    def identity(self) -> str:
        with calling(self.info):
            identity: Any = self.part.identity()
        if not isinstance(identity, str) or not identity:
            flaw = f"identity returns a {type(identity).__name__} and no digest"
            raise BrokenPluginError.breach(self.info, flaw)
        return identity

    def read(self, contract: ImageContract) -> Iterator[Records]:
        with calling(self.info):
            blocks = self.part.read(contract)
            if not isinstance(blocks, Iterable):
                flaw = f"read returns a {type(blocks).__name__} and no rows"
                raise BrokenPluginError.breach(self.info, flaw)
            blocks = iter(blocks)
        labelled: bool | None = None
        while (records := self._next(blocks, contract)) is not None:
            if labelled not in (None, records.labels is not None):
                flaw = "read yields rows with labels and rows of which labels is None"
                raise BrokenPluginError.breach(self.info, flaw)
            labelled = records.labels is not None
            yield records

    def _next(self, blocks: Iterator[Any], contract: ImageContract) -> Records | None:
        """The next block, looked at; None after the last one."""
        with calling(self.info):
            for records in blocks:
                if flaw := flaw_of_records(records, contract):
                    raise BrokenPluginError.breach(self.info, f"read yields rows of which {flaw}")
                block: Records = records
                return block
        return None
