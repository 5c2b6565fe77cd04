"""`mnist-pipeline reproduce`: a published version made again, and compared with what it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from mnist_pipeline.cli.console import Console, TerminalReporter, global_options

if TYPE_CHECKING:
    from mnist_pipeline.reproduce.reproduction import Reproduction


@click.command(
    epilog="""\b
Compared, stage by stage, with the digests on record:
  ingest      the parts that it was made of
  validate    the exam, the split, the data set
  normalize   the normalizer
  train       contract, network and weights
  evaluate    the metrics
Not compared: the version's number, times, the report.

\b
If a stage differs, those behind it are skipped. The cause is what has changed since then:
  data            a part, the exam or a record was changed, or is gone
  configuration   the manifest was altered
  code            this program, or the package of a plugin
  libraries       Python, NumPy, its BLAS, pyarrow
  cpu             the family of processors, as NumPy and BLAS see it
Bits are promised for the same code and libraries on one family of processors.

\b
Nothing in the workspace is changed. It takes as long as the training did.
Exit codes: 0 identical, 5 something differs, 3 something is gone, 2 there is no such version.

\b
Examples:
  mnist-pipeline reproduce digits@3
  mnist-pipeline reproduce digits@champion --json
  mnist-pipeline reproduce digits@3 --from-sources
"""
)
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--from-sources", is_flag=True, help="Read the sources again, not the parts.")
@global_options
@click.pass_obj
def reproduce(console: Console, reference: str, from_sources: bool) -> int:
    """Make a published version again, and say whether it is identical, bit by bit."""
    from mnist_pipeline.reproduce.reproduction import reproduce

    store = console.store(writable=False)
    reporter = TerminalReporter(quiet=console.quiet)
    found = reproduce(store, reference, from_sources=from_sources, reporter=reporter)
    console.result(found.to_json(), lambda: _print(console, found))
    if found.error is not None and not console.as_json:
        console.error(found.error)
    return found.error.exit_code if found.error else 0


def _print(console: Console, found: Reproduction) -> None:
    rows = [
        (stage.name, stage.status, _short(", ".join(stage.wrong or stage.expected)))
        for stage in found.stages
    ]
    console.table(["stage", "status", "what"], rows)
    name = f"{found.manifest.name}@{found.manifest.version}"
    if found.error is None:
        click.secho(f"{name}: identical", fg="green", bold=True)
        for difference in found.differences:
            then, now = _short(difference.then), _short(difference.now)
            click.echo(f"  though {difference.what} was {then}, and is {now} now")
    elif "accuracy" in found.metrics:
        then, now = found.manifest.metrics["accuracy"], found.metrics["accuracy"]
        click.echo(f"it read {then:.2%} of the exam, and reads {now:.2%} now")


def _short(text: str) -> str:
    """Digests by their first 12 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", text)
