"""`mnist-pipeline validate`: what ingest would say of some data, without keeping any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mnist_pipeline.cli.console import Console, TerminalReporter, global_options

if TYPE_CHECKING:
    from mnist_pipeline.stages.check import Findings

PLACES_SHOWN = 20


@click.command(
    epilog="""\b
Examples:
  mnist-pipeline validate csv:train.csv
  mnist-pipeline validate csv:test.csv --unlabelled --json
  mnist-pipeline validate 'csv:s3://bucket/landing/*.csv'
"""
)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…")
@click.option("--unlabelled", is_flag=True, help="The data has no labels.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One key, repeatable.")
@global_options
@click.pass_obj
def validate(
    console: Console, specs: tuple[str, ...], unlabelled: bool, settings: tuple[str, ...]
) -> int:
    """Check data against the contract: every row is accepted or explained.

    Exit code 3 if more rows are rejected than `data.max_reject_fraction` allows.
    """
    from mnist_pipeline.configfile import parse_setting, resolve
    from mnist_pipeline.stages.check import check

    config = resolve([*map(parse_setting, settings), {"data": {"sources": list(specs)}}])
    reporter = TerminalReporter(quiet=console.quiet)
    store = console.existing_store()
    findings = check(config, labelled=not unlabelled, store=store, reporter=reporter)

    def show() -> None:
        for place in findings.tally.places[:PLACES_SHOWN]:
            click.echo("{source}:{place}: {reason}: {detail}".format_map(place))
        if findings.tally.total > PLACES_SHOWN:
            more = findings.tally.total - PLACES_SHOWN
            click.echo(f"… and {more:,} more; --json names up to 1,000")
        click.echo(f"{findings.rows:,} rows: {findings.accepted:,} accepted, {_counts(findings)}")

    data = findings.to_json()
    if findings.error is not None:
        data["error"] = findings.error.to_json()
    console.result(data, show)
    if findings.error is not None and not console.as_json:
        console.error(findings.error)
    return findings.error.exit_code if findings.error else 0


def _counts(findings: Findings) -> str:
    total = findings.tally.total
    if not total:
        return "0 rejected"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in findings.rejected.items())
    return f"{total:,} rejected ({reasons})"
