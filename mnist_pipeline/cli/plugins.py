"""`mnist-pipeline plugins`: what can be plugged in, and with which options."""

from __future__ import annotations

import inspect

import click

from mnist_pipeline.cli.console import Console, global_options
from mnist_pipeline.errors import ConfigError, did_you_mean


@click.group(invoke_without_command=True)
@global_options
@click.pass_context
def plugins(context: click.Context) -> None:
    """List the plugins of the five seams; `plugins show NAME` describes one."""
    if context.invoked_subcommand is not None:
        return
    from mnist_pipeline.plugins import SEAMS, available

    console: Console = context.obj
    rows = [info for seam in SEAMS for info in available(seam)]
    data = [
        {"seam": row.seam, "name": row.name, "package": row.package, "version": row.package_version}
        for row in rows
    ]
    console.result(
        {"plugins": data},
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
    from mnist_pipeline.plugins import SEAMS, available, describe, load

    matches = [
        info for seam in SEAMS for info in available(seam) if name in (info.name, info.base_name)
    ]
    if not matches:
        names = {info.base_name for seam in SEAMS for info in available(seam)}
        raise ConfigError(f"there is no plugin called {name!r}", remedy=did_you_mean(name, names))
    info = max(matches, key=lambda match: match.version)
    plugin = load(info.seam, info.name)
    options = describe(plugin)
    about = inspect.getdoc(plugin) or ""
    data = {
        "seam": info.seam,
        "name": info.name,
        "package": info.package,
        "about": about,
        "options": [
            {"name": o.name, "type": o.type, "default": o.default, "help": o.help} for o in options
        ],
    }

    def describe_it() -> None:
        click.secho(f"{info.seam} {info.name} ({info.package} {info.package_version})", bold=True)
        click.echo(about)
        if options:
            console.table(
                ["option", "type", "default", "what it does"],
                [(o.name, o.type, o.default, o.help) for o in options],
            )
        else:
            click.echo("no options")

    console.result(data, describe_it)
