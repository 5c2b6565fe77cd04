"""`mnist-pipeline train`: from sources to a judged version, through Prefect or without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import (
    Console,
    TerminalReporter,
    global_options,
    heed_ctrl_c,
    quieten_prefect,
)

if TYPE_CHECKING:
    from mnist_pipeline.config import Config
    from mnist_pipeline.pipeline import Result
    from mnist_pipeline.stages.run import Stage

STAGES = ["ingest", "validate", "inspect", "normalize", "train", "evaluate", "publish"]


@click.command(
    epilog="""\b
Sources:
  synthetic:n=60000,seed=7   digits drawn from strokes; needs nothing
  mnist                      the four files in $MNIST_DATA_DIR, else downloaded
  idx:DIR                    a folder of IDX files, plain or gz
  csv:GLOB                   Kaggle's layout: label,pixel0…pixel783
  parquet:PATH               a file, folder or glob
  png:DIR                    a folder of pictures, one sub-folder a class
All but the first two read from buckets too: 'csv:s3://bucket/landing/*.csv'.

\b
What --source names must be there and good. --landing takes the same words for files that arrive
by day: there may be none, a bad one is quarantined whole (`mnist-pipeline data replay`), and what
is known by name, size and time is not read again. Data that the champion of the name has not
learned from is read by it first; if it objects, the run is held (`mnist-pipeline data accept`).

\b
Examples:
  mnist-pipeline train --source mnist --preset fast
  mnist-pipeline train --source 'csv:landing/*.csv' --set train.epochs=20 --seed 1
  mnist-pipeline train --source mnist --landing 'csv:landing/*.csv'
  mnist-pipeline train --config nightly.toml --fail-on-hold --json

Configuration, lowest precedence first: preset, --config, --set, the other options. Sections:
[data], [normalize], [model], [train], [predict], [gate], [publish]; `mnist-pipeline plugins show
mlp` and the like describe the keys of a plugin, `--show-config` prints what would be used.
"""
)
@click.option("--source", "sources", multiple=True, metavar="SPEC", help="Where rows come from.")
@click.option(
    "--landing", "landing", multiple=True, metavar="SPEC", help="Where more arrives by day."
)
@click.option(
    "--preset", metavar="NAME", help="fast (default), standard, nightly, best or tutorial."
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="A TOML file.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One key, repeatable.")
@click.option("--seed", type=int, help="Of everything that is random.")
@click.option("--name", help="The model's name in the registry; default digits.")
@click.option(
    "--engine",
    type=click.Choice(["prefect", "plain"]),
    default="prefect",
    show_default=True,
    help="plain: the same stages without Prefect.",
)
@click.option("--no-promote", is_flag=True, help="Publish, but move no champion.")
@click.option("--no-exam", is_flag=True, help="Judge on validation rows, publish nothing.")
@click.option("--force", type=click.Choice(STAGES), help="Redo this stage and what follows.")
@click.option("--verify", is_flag=True, help="Read all files again, however unchanged they seem.")
@click.option("--fail-on-hold", is_flag=True, help="Exit with 4 if the candidate is held.")
@click.option("--profile", is_flag=True, help="Tell what the training did with its time.")
@click.option("--show-config", is_flag=True, help="Print the resolved configuration and stop.")
@global_options
@click.pass_obj
def train(
    console: Console,
    /,
    engine: str,
    force: Stage | None,
    verify: bool,
    profile: bool,
    show_config: bool,
    **options: Any,
) -> int:
    """Train a model, judge it, publish it.

    Without options: the preset `fast` on drawn digits, through a Prefect flow.
    """
    from mnist_pipeline.configfile import explained_toml
    from mnist_pipeline.stages.inputs import build_source
    from mnist_pipeline.stages.resolve import resolved

    config = resolved(_config(**options))
    for spec in config.data.specs:
        build_source(spec)  # a mistake in one is told before anything slow begins
    if show_config:
        console.result(config.to_json(), explained_toml(config).rstrip())
        return 0
    console.store()  # a workspace that cannot be written is told before anything slow begins
    reporter = TerminalReporter(quiet=console.quiet)
    if engine == "plain":
        from mnist_pipeline.pipeline import run_pipeline
        from mnist_pipeline.stages.run import Run

        heed_ctrl_c()
        run = Run(console.store(), config, force=force, verify=verify, reporter=reporter)
        result = run_pipeline(run)
    else:
        quieten_prefect()
        from flows.training import run_training_flow

        heed_ctrl_c()
        reporter.begin("prefect", "starting")
        result = run_training_flow(
            config, console.workspace, force=force, verify=verify, reporter=reporter
        )
    console.result(result.to_json(), lambda: _print(result, profile=profile))
    return result.exit_code


def _config(
    sources: tuple[str, ...],
    landing: tuple[str, ...],
    preset: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    seed: int | None,
    name: str | None,
    no_promote: bool,
    no_exam: bool,
    fail_on_hold: bool,
) -> Config:
    from mnist_pipeline.configfile import (
        DEFAULT_PRESET,
        load_file,
        load_preset,
        parse_setting,
        resolve,
    )

    flags: dict[str, dict[str, Any] | str] = {}
    if name is not None:
        flags["name"] = name
    data: dict[str, Any] = {"sources": list(sources)} if sources else {}
    if landing:
        data["landing"] = list(landing)
    if no_exam:
        data["use_exam"] = False
    if data:
        flags["data"] = data
    if seed is not None:
        flags["train"] = {"seed": seed}
    if no_promote:
        flags["publish"] = {"promote": False}
    if fail_on_hold:
        flags["gate"] = {"fail_on_hold": True}
    layers = [load_preset(preset or DEFAULT_PRESET)]
    if file is not None:
        layers.append(load_file(file))
    return resolve([*layers, *map(parse_setting, settings), flags])


def _print(result: Result, *, profile: bool) -> None:
    from mnist_pipeline.evaluate.inspection_page import INSPECTION, how_to_accept

    outcome, metrics = result.outcome, result.outcome.metrics
    version = f"{result.model}@{outcome.version}" if outcome.version else result.model
    colour = {"promoted": "green", "blocked": "red", "held": "yellow"}.get(outcome.status)
    click.echo()
    click.secho(f"{version}: {outcome.status}", fg=colour, bold=True)
    for reason in outcome.reasons:
        click.echo(f"  {reason}")
    if outcome.report.endswith(INSPECTION) and not outcome.reasons[0].startswith("exam_changed"):
        click.echo(f"  to learn from it all the same: {how_to_accept(result.model)}")
    if "accuracy" in metrics:
        click.echo(
            f"  reads {metrics['accuracy']:.2%} of {metrics['n']:,} "
            f"{'exam' if result.judged_on_exam else 'validation'} images correctly"
        )
    if outcome.transfer:
        read = outcome.transfer
        click.echo(
            f"  trained and tested on drawings; of {read.n:,} real ones ({read.name}) "
            f"it reads {read.accuracy:.2%}"
        )
    elif result.drawn:
        click.echo(
            "  trained and tested on drawings: --source mnist learns from real handwriting, and\n"
            "  with MNIST_DATA_DIR at MNIST's four files this command tells how well it reads them"
        )
    rejected = result.dataset["rejected"]
    if rejected:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
        click.echo(
            f"  {sum(rejected.values()):,} of {result.dataset['rows']:,} rows rejected: {counts}"
        )
    for delivery in result.published:
        click.secho(f"  {delivery.words}", fg=None if delivery.ok else "red")
        if delivery.error:
            click.echo(f"    → {delivery.error.remedy}")
    if profile:
        _print_profile(result)
    click.echo(f"report: {result.report}")


def _print_profile(result: Result) -> None:
    from mnist_pipeline.model.profile import Profile, sgemm_rate

    if not result.profile:
        click.echo("  nothing was trained, so there is no profile; --force train trains again")
        return
    for line in Profile(**result.profile).lines(sgemm_rate()):
        click.echo(f"  {line}")
