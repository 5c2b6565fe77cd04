"""Overrides: data that was held and that somebody let through, with who and why.

models/<name>/accepted/   a series: the parts that were accepted
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from mnist_pipeline.errors import ConfigError, did_you_mean
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry, now, user
from mnist_pipeline.store.series import Entry, Series


def overrides(store: Store, name: str) -> Series:
    """The series of what was accepted for a model name."""
    return Series(store, f"models/{name}/accepted", ("parts", "reason"))


def accepted_parts(entries: Sequence[Entry]) -> set[str]:
    """The digests of the parts that were accepted."""
    return {part["digest"] for entry in entries for part in entry.value["parts"]}


def accept(store: Store, name: str, files: Sequence[str], reason: str) -> Entry:
    """Lets files that hold the last run of a model name count as if its champion knew them.

    Args:
        store: the workspace.
        name: the model name.
        files: by the names that the reasons give them; none: all that were new.
        reason: why; kept for ever.

    Raises:
        ConfigError: the last run was not held for its data, or not for one of the files.
    """
    registry = Registry(store)
    last = registry.runs(name).latest()
    held = last.value.get("new_parts", []) if last else []
    if not held:
        raise ConfigError(
            f"the last run of {name!r} was not held for its data",
            remedy="`mnist-pipeline train` says what holds it, if anything does"
            if last
            else did_you_mean(name, registry.names()),
        )
    names = [part["name"] for part in held]
    for file in files:
        if file not in names:
            raise ConfigError(
                f"{file!r} is not among the new files that hold {name!r}",
                remedy=did_you_mean(file, names),
            )
    assert last is not None
    value = {
        "parts": [part for part in held if not files or part["name"] in files],
        "reason": reason,
        "by": f"{user()}@{socket.gethostname()}",
        "since": now(),
        "run": last.value["run"],
        "against": list(last.value["reasons"]),
    }
    series = overrides(store, name)
    while not (entry := series.append(value, after=series.latest())):
        pass  # somebody else has just accepted something: behind that then
    return entry
