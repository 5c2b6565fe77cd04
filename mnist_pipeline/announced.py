"""What installed packages announce as plugins, read without importing any of it.

A package that announces something nobody can use stops nobody else; who asks is told why.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import PurePath

from mnist_pipeline.errors import told

SEAMS: dict[str, str] = {
    "source": "mnist_pipeline.sources",
    "normalizer": "mnist_pipeline.normalizers",
    "model": "mnist_pipeline.models",
    "gate": "mnist_pipeline.gates",
    "publisher": "mnist_pipeline.publishers",
}

_VERSIONED = re.compile(r"[a-z][a-z0-9_]*\.v[1-9][0-9]*")
_NAMING = "a plugin is called name.vN, in small letters, digits and underscores: thing.v1"


@dataclasses.dataclass(frozen=True)
class PluginInfo:
    """A plugin as its package announces it: an entry point in the group of a seam.

    Attributes:
        seam: one of `SEAMS`.
        name: `thing.v1`.
        package, package_version: whose it is.
        entry_point: where it leads; nothing of it has been imported.
    """

    seam: str
    name: str
    package: str
    package_version: str
    entry_point: EntryPoint = dataclasses.field(repr=False, compare=False)

    @property
    def usable(self) -> bool:
        """Whether its name carries a version."""
        return _VERSIONED.fullmatch(self.name) is not None

    @property
    def base_name(self) -> str:
        return self.name.partition(".v")[0]

    @property
    def origin(self) -> str:
        """Its package with the version, as errors and manifests name it."""
        return f"{self.package} {self.package_version}"

    @property
    def version(self) -> int:
        return int(self.name.partition(".v")[2])


@dataclasses.dataclass(frozen=True)
class Announcements:
    """All of a path.

    Attributes:
        found: what could be read.
        unreadable: why the others could not, a sentence a package.
    """

    found: tuple[PluginInfo, ...]
    unreadable: tuple[str, ...]

    def ignored(self, name: str | None = None) -> list[str]:
        """What is announced in vain, and why: all of it, or what is called `name`."""
        misnamed = [
            f"{each.origin} announces the {each.seam} {each.name!r}, but {_NAMING}"
            for each in self.found
            if not each.usable and name in (None, each.name, each.name.rpartition(".v")[0])
        ]
        return misnamed if name else [*misnamed, *self.unreadable]


@functools.lru_cache(maxsize=1)
def announcements(path: tuple[str, ...]) -> Announcements:
    """Of all packages on a path (`sys.path`): reading them is what listing costs."""
    del path
    seams = {group: seam for seam, group in SEAMS.items()}
    seen: set[str] = set()
    found: list[PluginInfo] = []
    unreadable: list[str] = []
    for distribution in distributions():
        folder = PurePath(getattr(distribution, "_path", "?")).name
        name = folder.partition("-")[0]
        if name in seen:
            continue  # Python imports the first one of that name, too
        seen.add(name)
        try:
            entries = [each for each in distribution.entry_points if each.group in seams]
        except Exception as error:  # bytes that are no text, lines that are no entries: theirs
            unreadable.append(f"the entry points in {folder} cannot be read: {told(error)}")
            continue
        if entries:
            package = _package(distribution, folder)
            found += [PluginInfo(seams[each.group], each.name, *package, each) for each in entries]
    return Announcements(tuple(found), tuple(unreadable))


def _package(distribution: Distribution, folder: str) -> tuple[str, str]:
    """Its name and version: from its metadata, else from what its folder is called."""
    with contextlib.suppress(Exception):  # no metadata, or such as are no text
        if distribution.metadata["Name"] and distribution.version:
            return distribution.metadata["Name"], distribution.version
    name, _, version = folder.rpartition(".")[0].partition("-")
    return name or "?", version or "?"
