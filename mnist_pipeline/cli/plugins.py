"""`mnist-pipeline plugins`: what can be plugged in, and with which options."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import Console, global_options
from mnist_pipeline.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mnist_pipeline.plugins import PluginInfo


@click.group(invoke_without_command=True)
@global_options
@click.pass_context
def plugins(context: click.Context) -> None:
    """List the plugins of the five seams; `plugins show NAME` describes one."""
    if context.invoked_subcommand is not None:
        return
    from mnist_pipeline.plugins import SEAMS, available, ignored

    console: Console = context.obj
    rows = [info for seam in SEAMS for info in available(seam)]
    data = [
        {"seam": row.seam, "name": row.name, "package": row.package, "version": row.package_version}
        for row in rows
    ]
    for words in ignored():
        click.echo(f"ignored: {words}", err=True)
    console.result(
        {"plugins": data, "ignored": ignored()},
        lambda: console.table(
            ["seam", "name", "package"],
            [(row.seam, row.name, f"{row.package} {row.package_version}") for row in rows],
        ),
    )


@plugins.command()
@click.argument("name")
@global_options
@click.pass_obj
def show(console: Console, name: str) -> None:
    """Describe one plugin: what it does, its options, their types and defaults."""
    from mnist_pipeline.plugins import SEAMS, available, ignored

    newest = [
        max(matches, key=lambda match: match.version)
        for seam in SEAMS
        if (matches := [info for info in available(seam) if name in (info.name, info.base_name)])
    ]
    if not newest:
        names = {info.base_name for seam in SEAMS for info in available(seam)}
        raise ConfigError(
            f"there is no plugin called {name!r}",
            ignored=ignored(name) or None,
            remedy=did_you_mean(name, names),
        )
    first, *others = [_described(info) for info in newest]  # a name may be taken in several seams

    def describe_them() -> None:
        for data in (first, *others):
            title = "{seam} {name} ({package} {version})".format_map(data)
            click.secho(title, bold=True)
            click.echo(data["about"])
            rows = [(o["name"], o["type"], o["default"], o["help"]) for o in data["options"]]
            if rows:
                console.table(["option", "type", "default", "what it does"], rows)
            else:
                click.echo("no options")

    console.result({**first, "others": others}, describe_them)


def _described(info: PluginInfo) -> dict[str, Any]:
    """A plugin in JSON: where it comes from, what it does, its options.

    Raises:
        OutsideError: its package is broken.
    """
    from mnist_pipeline.guard import calling
    from mnist_pipeline.plugins import describe, load

    plugin = load(info.seam, info.name)
    with calling(info, "cannot be described"):  # its defaults say themselves how they look
        options = [dataclasses.asdict(option) for option in describe(plugin)]
        return {
            "seam": info.seam,
            "name": info.name,
            "package": info.package,
            "version": info.package_version,
            "about": inspect.getdoc(plugin) or "",
            "options": options,
        }
