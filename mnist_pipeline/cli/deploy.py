"""`mnist-pipeline deploy`: what runs when, registered with a Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mnist_pipeline.cli.console import Console, global_options, quieten_prefect


@click.command(
    epilog="""\b
Registered are, as deployments/prefect.yaml says:
  training/nightly       the configuration in nightly.toml, 4:30 every day
  scoring/daily          the inputs in scoring.toml, 6:00 every day, once there are any
  housekeeping/weekly    what `mnist-pipeline gc` does, Sundays
One run of each at a time: what is due while the one before still works is cancelled, and told.

\b
From nothing:
  prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api \\
    PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem
  prefect server start --background
  mnist-pipeline deploy
  prefect worker start --pool mnist-pipeline

\b
With MNIST_PIPELINE_WEBHOOK in the environment the server tells that address of runs that failed,
crashed, came late or were cancelled. It may be called again at any time: what is registered is
replaced. deployments/README.md has PostgreSQL, systemd and containers.
"""
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Another prefect.yaml than deployments/prefect.yaml; what it names lies beside it.",
)
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="An interval instead of every schedule, to try it.",
)
@global_options
@click.pass_obj
def deploy(console: Console, file: Path | None, every: float | None) -> None:
    """Register nightly training, scoring and housekeeping with a Prefect server.

    Relative paths in the configuration, the workspace's too, mean the folder you are in now.
    """
    quieten_prefect()
    from flows.deploying import default_file
    from flows.deploying import deploy as register

    told = register(
        (file or default_file()).absolute(),
        workspace=console.workspace,
        folder=Path.cwd(),
        every=every,
    )
    console.result(told, lambda: _print(console, told))


def _print(console: Console, told: dict[str, Any]) -> None:
    click.secho(f"registered at {told['server']}", bold=True)
    rows = [
        (
            plan["deployment"],
            " ".join(word for word in (plan["schedule"], plan["timezone"]) if word),
            plan["next"] or ("" if plan["active"] else "switched off"),
        )
        for plan in told["deployments"]
    ]
    console.table(["deployment", "schedule", "next run"], rows)
    click.echo(f"workspace: {told['workspace']}")
    for name in told["automations"]:
        click.echo(f"automation: {name}")
    for line in told["missing"]:
        click.secho(f"missing: {line}", fg="yellow")
