"""The five seams, and how a plugin is named, found, loaded and given its options.

A plugin is a frozen dataclass whose fields are its options, registered as a Python entry point in
the group of its seam under a name that carries a version:

    [project.entry-points."mnist_pipeline.sources"]
    "folder.v1" = "my_package.folder:Folder"

`folder` then resolves to the newest `folder.vN`; what is stored is always the resolved name.
Listing imports no plugin; loading imports exactly one.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Mapping
from traceback import walk_tb
from typing import Any

from mnist_pipeline.announced import SEAMS as SEAMS
from mnist_pipeline.announced import PluginInfo as PluginInfo
from mnist_pipeline.announced import announcements
from mnist_pipeline.errors import ConfigError, OutsideError, did_you_mean
from mnist_pipeline.guard import OURS as OURS
from mnist_pipeline.guard import BrokenPluginError as BrokenPluginError
from mnist_pipeline.guard import calling, guarded, is_unexplained


def option(default: Any, help: str, *, locates: bool = False, bucket: bool = False) -> Any:
    """A dataclass field that is a plugin option.

    Args:
        default: its default; `dataclasses.MISSING` if it has to be given.
        help: one line about it; forms and `plugins show` print it.
        locates: it says where data lies, not what is read: part keys leave it out.
        bucket: of a source: it may be a URL too. `parts()` then is asked in a folder of empty files
            that have the objects' names, so it must open none; and a part's own files alone must
            give that part again.
    """
    meaning = {"description": help, "locates": locates, "bucket": bucket}
    return dataclasses.field(default=default, metadata=meaning)


class MissingPluginError(ConfigError):
    """No installed package has the plugin.

    Attributes:
        name: what it was called.
    """

    name = ""


@functools.cache
def available(seam: str) -> tuple[PluginInfo, ...]:
    """Every plugin of a seam, by name and version, without importing any."""
    announced = announcements(tuple(sys.path)).found
    found = [info for info in announced if info.seam == seam and info.usable]
    return tuple(sorted(found, key=lambda info: (info.base_name, info.version, info.package)))


def ignored(name: str | None = None) -> list[str]:
    """What packages announce in vain, and why: all of it, or what is called `name`."""
    return announcements(tuple(sys.path)).ignored(name)


def resolve(seam: str, name: str) -> PluginInfo:
    """The plugin called `name` (`mlp` or `mlp.v1`); the newest where no version is given.

    Raises:
        MissingPluginError: no installed package has it, or has it in that version.
        ConfigError: several have it.
    """
    infos = available(seam)
    matches = [info for info in infos if name in (info.name, info.base_name)]
    if not matches:
        raise _missing(seam, name)
    best = max(matches, key=lambda info: info.version)
    rivals = {info.package for info in matches if info.name == best.name}
    if len(rivals) > 1:
        raise ConfigError(
            f"{len(rivals)} packages have a {seam} called {best.name!r}",
            packages=", ".join(sorted(rivals)),
            remedy="uninstall all but one of them",
        )
    return best


def _missing(seam: str, name: str) -> MissingPluginError:
    infos = available(seam)
    others = [info for info in infos if info.base_name == name.partition(".v")[0]]
    if others:
        newest = max(others, key=lambda info: info.version)
        error = MissingPluginError(
            f"there is no {seam} called {name!r}, but there is {newest.name!r}",
            package=newest.origin,
            remedy=f"install a version of {newest.package} that has {name!r}, "
            f"or say {newest.base_name!r} for what is there",
        )
    else:
        error = MissingPluginError(
            f"there is no {seam} called {name!r}",
            ignored=ignored(name) or None,
            remedy=did_you_mean(name, {info.base_name for info in infos}),
        )
    error.name = name
    return error


def uninstalled(headline: str, error: MissingPluginError, package: str | None) -> OutsideError:
    """The error for what needs a plugin that is gone, with the package that had it, if known."""
    wanted = package.replace(" ", "==") if package else f"the package with {error.name!r}"
    return OutsideError(
        f"{headline}: {error.headline}",
        package=package,
        remedy=f"install it again: pip install {wanted}" if package else f"install {wanted}",
    )


def is_foreign(seam: str, name: str) -> bool:
    """Whether a plugin comes from another package than this one."""
    return resolve(seam, name).package != OURS


def info_of(seam: str, plugin: object) -> PluginInfo | None:
    """What is announced of the plugin that an object is an instance of; None for unregistered."""
    made_by = f"{type(plugin).__module__}:{type(plugin).__qualname__}"
    return next((i for i in available(seam) if i.entry_point.value == made_by), None)


def blamed(error: BaseException) -> BrokenPluginError | None:
    """The same error with the plugin named in whose code it arose; None if it arose in none.

    For what did not come through `guard.calling`: a class body, a function that was handed over.
    Only what nobody has explained is blamed on anybody, and nothing on the plugins in here.
    """
    if not is_unexplained(error):
        return None
    by_package: dict[str, list[PluginInfo]] = {}
    for info in (info for seam in SEAMS for info in available(seam) if info.package != OURS):
        by_package.setdefault(info.entry_point.module.partition(".")[0], []).append(info)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    modules = [str(frame.f_globals.get("__name__")) for frame in frames]
    classes = {frame.f_code.co_qualname.partition(".")[0] for frame in frames}
    for module in reversed(modules):
        if infos := by_package.get(module.partition(".")[0], []):
            at_work = [info for info in infos if info.entry_point.module in modules] or infos
            named = [info for info in at_work if info.entry_point.attr in classes] or at_work
            return BrokenPluginError.of(named[0], "went wrong", error)
    return None


def load(seam: str, name: str) -> type[Any]:
    """Import the plugin class called `name`.

    Raises:
        ConfigError: no installed package has it.
        OutsideError: its package breaks at import, or says what it misses.
    """
    info = resolve(seam, name)
    with calling(info, "cannot be imported"):
        plugin = info.entry_point.load()
    if not (isinstance(plugin, type) and dataclasses.is_dataclass(plugin)):
        raise BrokenPluginError.of(info, "is not a dataclass of its options")
    return plugin


def build(seam: str, name: str, options: Mapping[str, Any], *, bare: bool = False) -> Any:
    """An instance of the plugin called `name` with `options`, checked against its fields.

    Args:
        seam: one of `SEAMS`.
        name: with its version or without.
        options: some may be left out.
        bare: without the guard that watches over plugins of other packages, see `guard`.

    Raises:
        ConfigError: an option is unknown (the nearest are named) or has a wrong value.
        OutsideError: its package is broken.
    """
    plugin, info = load(seam, name), resolve(seam, name)
    fields = {field.name for field in dataclasses.fields(plugin) if field.init}
    for key in options:
        if key not in fields:
            raise ConfigError(
                f"the {seam} {name!r} has no option {key!r}", remedy=did_you_mean(key, fields)
            )
    from pydantic import TypeAdapter, ValidationError

    with calling(info, "cannot be made from its options"):  # its own checks, types of its own
        try:
            made = TypeAdapter(plugin).validate_python(dict(options))
        except ValidationError as error:
            raise _wrong_option(seam, name, error.errors()[0]) from None
    return made if bare else guarded(info, made)


def _wrong_option(seam: str, name: str, found: Mapping[str, Any]) -> ConfigError:
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] == "missing":
        headline = f"the {seam} {name!r} needs the option {place!r}"
    else:
        taken = f"{place} = {found.get('input')!r}" if place else "these options"
        headline = f"the {seam} {name!r} cannot take {taken}: {found['msg']}"
    return ConfigError(headline, remedy=f"`mnist-pipeline plugins show {name}` lists its options")


@dataclasses.dataclass(frozen=True)
class OptionInfo:
    """One option of a plugin, as `plugins show` prints it."""

    name: str
    type: str
    default: str
    help: str


def describe(plugin: type[Any]) -> list[OptionInfo]:
    """The options of a plugin class, in their order."""
    hints = typing.get_type_hints(plugin)
    rows = []
    for field in dataclasses.fields(plugin):
        if not field.init:
            continue
        if field.default is not dataclasses.MISSING:
            default = repr(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = repr(field.default_factory())
        else:
            default = "(required)"
        hint = hints[field.name]
        type_name = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        described = field.metadata.get("description", "")
        rows.append(OptionInfo(field.name, type_name, default, described))
    return rows
