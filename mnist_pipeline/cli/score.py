"""`mnist-pipeline score`: files of images in, files of answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import (
    Console,
    TerminalReporter,
    global_options,
    heed_ctrl_c,
    quieten_prefect,
)
from mnist_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from mnist_pipeline.score.job import Summary


@click.command(
    epilog="""\b
Examples:
  mnist-pipeline score images.parquet --output answers
  mnist-pipeline score landing/ --output answers --id-column uuid --keep label=truth
  mnist-pipeline score 'year=*/*.parquet' --output answers --model digits@3 --top-k 3
  mnist-pipeline score s3://bucket/images --output s3://bucket/answers --json
  mnist-pipeline score test.csv --output submission.csv       for Kaggle: ImageId,Label

\b
Inputs: files, folders (with key=value folders too), patterns, URLs. The column of images is found
by itself: raw bytes, lists, tensors, PNGs or pixel0, pixel1, … Every file has its answers at the
same relative path below --output, a row for each of its rows, in order:
  row_id         the row in its file, from 0
  label          the class, null unless the status is ok
  confidence     its probability
  status         ok, low_confidence or rejected
  reason         why there is no label
What was answered before, with the same model, bytes and options, is not answered again. How it
went stands in _manifest.json; `mnist-pipeline explain FILE` says what an answer was made of.
"""
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@click.option(
    "--output",
    required=True,
    metavar="DIR|URL|FILE.csv",
    help="Where the answers go; a file *.csv: a submission to Kaggle.",
)
@click.option(
    "--model", metavar="NAME[@V]", help="Default digits@champion, or the only champion there is."
)
@click.option("--image-column", metavar="NAME", help="The column of images, if several could be.")
@click.option("--id-column", metavar="NAME", help="A column carried under its own name.")
@click.option("--keep", default="", metavar="A,B=NEW", help="Further columns carried, or renamed.")
@click.option("--scale", type=float, help="Float pixels times this are 0 to 255.")
@click.option("--top-k", type=int, default=0, metavar="K", help="The K most probable classes too.")
@click.option("--probabilities", is_flag=True, help="The probabilities of all classes too.")
@click.option("--min-confidence", type=float, default=0.0, metavar="P", help="Below it: no label.")
@click.option(
    "--max-drift", type=float, metavar="D", help="Exit with 3 above it: 0 the same, 0.2 alarms."
)
@click.option(
    "--on-bad-row",
    type=click.Choice(["null", "quarantine", "fail"]),
    default="null",
    show_default=True,
    help="A row without an image: no label; its payload kept too; or the file fails.",
)
@click.option(
    "--on-bad-file",
    type=click.Choice(["fail", "continue", "skip"]),
    default="continue",
    show_default=True,
    help="Stop at once; score the rest and exit with 3; or exit with 0.",
)
@click.option("--workers", type=click.IntRange(1), help="Threads; default: one a core.")
@click.option(
    "--engine",
    type=click.Choice(["plain", "prefect"]),
    default="plain",
    show_default=True,
    help="prefect: as a flow, a task a slice.",
)
@click.option("--dask", metavar="ADDRESS", help="The flow's tasks on a Dask cluster, tcp://….")
@global_options
@click.pass_obj
def score(
    console: Console,
    /,
    inputs: tuple[str, ...],
    output: str,
    model: str | None,
    keep: str,
    workers: int | None,
    engine: str,
    dask: str | None,
    **options: Any,
) -> int:
    """Answer every row of Parquet files of images: a label with its confidence, or a reason."""
    from mnist_pipeline.score.inputs import find_inputs
    from mnist_pipeline.score.job import SLICE_ROWS, find_model, make_job
    from mnist_pipeline.score.options import ScoreOptions, parse_keep
    from mnist_pipeline.score.submission import is_submission, submission_job, write_submission

    if is_submission(output) and engine != "plain":
        raise ConfigError("a submission is no work for a flow", remedy="leave --engine out")
    if dask is not None and engine != "prefect":
        raise ConfigError("--dask is for flows", remedy="add --engine prefect")
    asked = ScoreOptions(keep=parse_keep(keep), **options)
    store = console.store(writable=False)
    manifest, guessed = find_model(store, model)
    if guessed and not console.quiet:
        click.echo(f"model      {manifest.name}@{manifest.version}, the only champion", err=True)
    reporter = TerminalReporter(quiet=console.quiet)
    if engine == "plain":
        from mnist_pipeline.score.engine import score_files
        from mnist_pipeline.score.telling import telling

        heed_ctrl_c()
        with telling(output, reporter) as conclude:
            if is_submission(output):
                submission = submission_job(store, manifest, inputs, output, asked)
                summary = conclude(write_submission(*submission, reporter))
            else:
                files = find_inputs(inputs, store.place)
                job = make_job(store, manifest, output, asked)
                summary = conclude(score_files(job, files, reporter, workers=workers))
    else:
        quieten_prefect()
        from flows.scoring import run_scoring_flow
        from mnist_pipeline.score.shares import SHARE_ROWS

        heed_ctrl_c()
        reporter.begin("prefect", "starting")
        summary = run_scoring_flow(
            inputs,
            output,
            model=f"{manifest.name}@{manifest.version}",
            options=asked,
            workspace=console.workspace,
            slice_rows=SLICE_ROWS if dask is None else SHARE_ROWS,
            dask=dask,
            workers=workers,
            reporter=reporter,
        )
    error = summary.error
    data = summary.to_json()
    if error is not None:
        data["error"] = error.to_json()
    console.result(data, lambda: _print(summary))
    if error is not None and not console.as_json:
        console.error(error)
    return error.exit_code if error else 0


def _print(summary: Summary) -> None:
    from mnist_pipeline.data.drift import ALARM

    tally, job = summary.tally, summary.job
    rejected = tally.rejected.total()
    parts = [f"{tally.scored:,} scored"]
    parts += [f"{tally.abstained:,} not confident enough"] if tally.abstained else []
    if rejected:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(tally.rejected.items()))
        parts.append(f"{rejected:,} rejected ({reasons})")
    click.echo(f"{job.model}@{job.version}: {tally.rows:,} rows: {', '.join(parts)}")
    if summary.drift:
        worst = max(summary.drift.distances.items(), key=lambda pair: pair[1])[0]
        alarm = ": NOT what the model learned from" if summary.drift.score >= ALARM else ""
        click.echo(f"  drift {summary.drift.score:.2f} (most in {worst}){alarm}")
    if summary.skipped:
        click.echo(f"  {len(summary.skipped):,} of {summary.files:,} files were answered before")
    for failure in summary.failures[:5]:
        click.echo(f"  no answers to {failure.file}: {failure.error.headline}")
    if len(summary.failures) > 5:
        click.echo(f"  … and {len(summary.failures) - 5:,} more; --json names all")
    click.echo(f"output: {job.output}")
