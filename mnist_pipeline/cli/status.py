"""`mnist-pipeline status`: what is going on in a workspace, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import Console, global_options, quieten_prefect

if TYPE_CHECKING:
    from mnist_pipeline.overview.state import ModelState, State

COLOURS = {
    "promoted": "green",
    "held": "yellow",
    "blocked": "red",
    "failed": "red",
    "killed": "red",
}


@click.command()
@click.option("--no-server", is_flag=True, help="Do not ask the Prefect server what comes next.")
@global_options
@click.pass_obj
def status(console: Console, no_server: bool) -> None:
    """Champions, the last runs with their verdicts, the last scoring, the next run.

    The same, for a browser, is in index.html of the workspace.
    """
    from mnist_pipeline.overview.page import INDEX
    from mnist_pipeline.overview.state import state_of

    store = console.store(writable=False)
    state = state_of(store)
    schedule: dict[str, Any] = {"server": None, "deployments": [], "problem": None}
    if not no_server:
        quieten_prefect()
        from flows.schedule import schedule_of

        schedule = schedule_of(state.workspace)
    page = f"{state.workspace.rstrip('/')}/{INDEX}" if store.exists(INDEX) else None
    data = {**state.to_json(), "schedule": schedule, "page": page}
    console.result(data, lambda: _print(console, state, schedule, page))


def _print(console: Console, state: State, schedule: dict[str, Any], page: str | None) -> None:
    for model in state.models:
        _print_model(model)
    if not state.models:
        click.echo("no model yet; `mnist-pipeline train` makes the first version")
    rows = [
        (
            run.began,
            click.style(run.status, fg=COLOURS.get(run.status)),
            f"{run.model}@{run.version}" if run.version else run.model or "",
            run.why,
        )
        for run in state.runs
    ]
    if rows:
        console.table(["began", "ended", "model", "why"], rows)
    for plan in schedule["deployments"]:
        when = plan["next"] or ("not planned yet" if plan["active"] else "switched off")
        click.echo(f"next {plan['deployment']}: {when}")
    if schedule["problem"]:
        click.echo(f"next run: {schedule['problem']}")
    if page:
        click.echo(f"page: {page}")


def _print_model(model: ModelState) -> None:
    if model.damage:
        click.secho(f"{model.name}: damaged: {model.damage}", fg="red", bold=True)
        return
    champion = model.champion
    if champion is None:
        click.secho(f"{model.name}: no champion", bold=True)
    else:
        accuracy = "" if champion.accuracy is None else f", {champion.accuracy:.2%} in the exam"
        click.secho(f"{model.name}@{champion.version} is champion{accuracy}", bold=True)
        click.echo(f"  since {model.reign['since']} ({model.reign['by']})")
    if model.scoring:
        drift = model.scoring["drift"]
        words = f", drift {drift['score']:.2f}" if drift else ""
        rows, when = model.scoring["rows"], model.scoring["finished"]
        click.echo(
            f"  last scored {rows:,} rows with version {model.scoring['version']}, {when}{words}"
        )
