"""Plugins of other packages, at work in here: held against their promises before they are used.

Normalizers, models and gates are tried on a few drawn digits before a run begins
(`mnist_pipeline.testing`, milliseconds); what a source reads is looked at block by block. Nothing
is asked of the plugins in here: they have their tests.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.contract.records import (
    PartInput,
    Records,
    Role,
    Source,
    flaw_of_part,
    flaw_of_records,
)
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.plugins import BrokenPluginError, PluginInfo
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
    CHECKS[seam](plugins.build(seam, name, json.loads(options)))


def parts_of(plugin: str, source: Source) -> list[PartInput]:
    """The parts of a source; those of another package's source are watched while they read.

    Raises:
        DataError, OutsideError: the source's own.
        BrokenPluginError: it does not give what a source promises.
    """
    info = plugins.resolve("source", plugin)
    if info.package == plugins.OURS:
        return source.parts()
    try:
        parts: Any = source.parts()
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:
        raise BrokenPluginError.of(info, "went wrong", error) from error
    if not isinstance(parts, list):
        raise _flaw(info, f"parts returns {type(parts).__name__} and no list")
    return [watched(plugin, part) for part in parts]


def watched(plugin: str, part: PartInput) -> PartInput:
    """A part; one of another package's source is watched while it reads."""
    info = plugins.resolve("source", plugin)
    if info.package == plugins.OURS or isinstance(part, Watched):
        return part
    if flaw := flaw_of_part(part):
        raise _flaw(info, flaw)
    return Watched(part, info)


def _flaw(info: PluginInfo, flaw: str) -> BrokenPluginError:
    return BrokenPluginError.of(info, f"breaks its protocol: {flaw}")


@dataclasses.dataclass(frozen=True)
class Watched:
    """A part of another package's source, whose rows are looked at before anybody uses them."""

    part: PartInput
    info: PluginInfo

    @property
    def name(self) -> str:
        return self.part.name

    @property
    def role(self) -> Role:
        return self.part.role

    @property
    def paths(self) -> tuple[Path, ...]:
        return self.part.paths

    def identity(self) -> str:
        identity: Any = self.part.identity()
        if not isinstance(identity, str) or not identity:
            raise _flaw(self.info, f"identity returns {identity!r} and no digest")
        return identity

    def read(self, contract: ImageContract) -> Iterator[Records]:
        try:
            blocks = iter(self.part.read(contract))
        except TypeError as error:  # None, for one
            raise BrokenPluginError.of(self.info, "breaks its protocol", error) from error
        for records in blocks:
            if flaw := flaw_of_records(records, contract):
                raise _flaw(self.info, f"read yields rows of which {flaw}")
            yield records
