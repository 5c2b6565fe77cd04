"""`mnist-pipeline gc`: what nothing needs any more is removed from the workspace."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import Console, global_options

if TYPE_CHECKING:
    from mnist_pipeline.store.housekeeping import Swept

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_KINDS = {
    "memos": "memos of results that are gone",
    "checkpoints": "trainings nobody went on with",
    "runs": "old runs",
    "quarantine": "rejected rows of old runs",
    "datasets": "data sets of no version",
    "parts": "parts of no data set",
    "exams": "exams that nobody names",
    "claims": "versions never finished",
    "temporary": "temporary files",
}


class Duration(click.ParamType[timedelta]):
    """`90m`, `24h`, `7d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: Any) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([0-9]{1,6})([smhdw])|0", str(value).strip())
        if not match:
            self.fail(f"{value!r} is no duration; write 90m, 24h or 7d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match[2] else timedelta(0)


@click.command(
    "gc",
    epilog="""\b
Kept, always:
  every version, whatever its verdict, with all its files
  the history of champions and of finished runs
  the data sets, parts and exams that versions name
  exams that a name is or was judged on, or that a verdict has offered
  the stage records of runs that made a version
  whatever is younger than --grace, or than the oldest run still at work
  the newest --keep-runs runs: reports, bundles, memos, rejected rows, data sets with their parts

\b
Removed:
  data sets, parts and exams that nothing names
  version numbers that were claimed by a run which never published
  older runs, their rejected rows, and memos that lead to them or to nothing
  temporary files that dead processes left

It may run beside trainings: what a run uses counts as young, whenever it was made. A run on another
host is known by the stages it finishes: let --grace be longer than the longest stage. It may be
killed: the next one goes on. A part that is needed again is made again from its source. Uploads
broken off in a bucket are seen by the bucket alone: give it a rule for them.

\b
Examples:
  mnist-pipeline gc --dry-run
  mnist-pipeline gc --grace 7d --keep-runs 100
  mnist-pipeline gc --json --workspace s3://bucket/digits
""",
)
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option(
    "--grace",
    type=Duration(),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="Remove nothing younger than this: 90m, 24h, 7d.",
)
@click.option(
    "--keep-runs",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="N",
    help="Keep everything of the newest N runs.",
)
@global_options
@click.pass_obj
def gc(console: Console, dry_run: bool, grace: timedelta, keep_runs: int) -> None:
    """Remove what nothing needs any more: never a byte that a published version names."""
    from mnist_pipeline.store.housekeeping import sweep
    from mnist_pipeline.store.survey import Policy

    store = console.store(writable=False)  # a workspace that is not there is not made
    if not dry_run:
        store = console.store()
    swept = sweep(store, Policy(grace, keep_runs), dry_run=dry_run)
    policy = {"grace_seconds": int(grace.total_seconds()), "keep_runs": keep_runs}
    data = {"dry_run": dry_run, **policy, **swept.to_json()}
    console.result(data, lambda: _print(console, swept, dry_run=dry_run))


def _print(console: Console, swept: Swept, *, dry_run: bool) -> None:
    for note in swept.notes:
        click.secho(note, fg="yellow")
    if swept.at_work:
        click.echo(f"at work: {', '.join(swept.at_work)}; what is younger stays")
    found = {kind: things for kind, things in swept.removed.items() if things}
    if not found:
        click.echo(f"nothing to remove in {console.workspace}")
        return
    rows = [
        (_KINDS[kind], f"{len(things):,}", _bytes(sum(size for _, size in things)))
        for kind, things in found.items()
    ]
    every = [thing for things in found.values() for thing in things]
    rows.append(("all", f"{len(every):,}", _bytes(sum(size for _, size in every))))
    console.table(["would be removed" if dry_run else "removed", "count", "size"], rows)


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
