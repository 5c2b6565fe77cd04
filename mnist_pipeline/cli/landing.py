"""`mnist-pipeline data replay` and `data accept`: files that a night did not take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_pipeline.cli.console import Console, global_options
from mnist_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from mnist_pipeline.stages.landing import Replay


@click.command(
    epilog="""\b
A file of the landing is quarantined whole if it cannot be read, is empty, or if more of its rows
are rejected than data.max_reject_fraction. A night takes it again by itself once it has changed.

\b
Examples:
  mnist-pipeline data replay
  mnist-pipeline data replay monday.csv --set data.max_reject_fraction=0.05
"""
)
@click.argument("files", nargs=-1, metavar="[FILE]…")
@click.option("--config", "file", type=click.Path(path_type=Path), help="The nights' TOML file.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A data key, as train.")
@global_options
@click.pass_obj
def replay(
    console: Console, files: tuple[str, ...], file: Path | None, settings: tuple[str, ...]
) -> None:
    """Look again at quarantined files (all, or FILEs by name): which are good now, and why not.

    What is good now is in the next night.
    """
    from mnist_pipeline.configfile import load_file, parse_setting, resolve
    from mnist_pipeline.stages.landing import replay
    from mnist_pipeline.stages.run import Run

    layers = [load_file(file)] if file is not None else []
    config = resolve([*layers, *map(parse_setting, settings)])
    console.store(writable=False)  # a workspace is looked into, none is made
    looked_at = replay(Run(console.store(), config, force="ingest", recorded=False), files)
    data = {"files": [entry.to_json() for entry in looked_at]}
    console.result(data, lambda: _print(console, looked_at))


def _print(console: Console, looked_at: list[Replay]) -> None:
    if not looked_at:
        click.echo("no file is quarantined")
        return
    rows = [(entry.file, entry.since, entry.status, entry.reason) for entry in looked_at]
    console.table(["file", "since", "now", "why it was quarantined"], rows)


@click.command(
    epilog="""\b
The decision is recorded with who, when, why, and against which objections. It holds for these
bytes under this model name; a file that changes is new again.

\b
Examples:
  mnist-pipeline data accept monday.csv --reason 'another scanner, looked at 200 of them'
"""
)
@click.argument("files", nargs=-1, metavar="[FILE]…")
@click.option("--name", default="digits", show_default=True, help="The model's name.")
@click.option("--reason", required=True, help="Why; it is kept for ever.")
@global_options
@click.pass_obj
def accept(console: Console, files: tuple[str, ...], name: str, reason: str) -> None:
    """Let new data that held the last run (all of it, or FILEs) be learned from in the next."""
    from mnist_pipeline.store.overrides import accept
    from mnist_pipeline.store.registry import parse_reference

    if not reason.strip():
        raise ConfigError("data that was held needs a reason", remedy="say why with --reason")
    if parse_reference(name) != (name, None):
        raise ConfigError(f"{name!r} is not a model's name", remedy="write it without a version")
    console.store(writable=False)
    entry = accept(console.store(), name, files, reason)
    accepted = [part["name"] for part in entry.value["parts"]]
    data = {"model": name, "accepted": accepted, "reason": reason, "by": entry.value["by"]}
    console.result(data, f"the next run of {name} learns from {', '.join(accepted)}")
