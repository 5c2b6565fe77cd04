"""`mnist-pipeline explain`: from a file of answers back to all that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mnist_pipeline.cli.console import Console, global_options


@click.command(
    epilog="""\b
Examples:
  mnist-pipeline explain answers/images.parquet
  mnist-pipeline explain s3://bucket/answers/images.parquet --json
"""
)
@click.argument("file", metavar="FILE|URL")
@global_options
@click.pass_obj
def explain(console: Console, file: str) -> int:
    """Say what a file of answers was made of: input, model, its training data, its verdict."""
    from mnist_pipeline.contract.records import unreadable
    from mnist_pipeline.errors import DataError, PipelineError
    from mnist_pipeline.score.outputs import record_at
    from mnist_pipeline.score.slices import model_digest
    from mnist_pipeline.store.registry import Registry

    try:
        record = record_at(file)
    except OSError as error:
        raise unreadable(Path(file), error) from None
    if record is None:
        raise DataError(
            f"{Path(file).name} is no file of answers, or is damaged",
            file=file,
            remedy="name a Parquet file that `mnist-pipeline score` wrote",
        )
    data: dict[str, Any] = {
        "file": file,
        "input": dict(record.input),
        "model": dict(record.model),
        "options": dict(record.options),
        "key": record.key,
        **record.tally.to_json(),
    }
    model = record.model
    try:
        store = console.store(writable=False)
        manifest = Registry(store).manifest(model["name"], model["version"])
    except PipelineError as error:
        data["version"] = None
        found = f"not in this workspace: {error.headline}"
    else:
        same = model_digest(manifest) == model["digest"]
        found = "the same files" if same else "OTHER FILES than those that answered"
        data["version"] = {
            "created": manifest.created,
            "same_files": same,
            "verdict": dict(manifest.verdict),
            "metrics": dict(manifest.metrics),
            "dataset": manifest.dataset,
            "exam": manifest.exam,
            "sources": manifest.config.get("data", {}).get("sources"),
            "run": manifest.run,
            "code": manifest.code,
        }
    console.result(data, lambda: _print(data, found))
    return 0


def _print(data: dict[str, Any], found: str) -> None:
    rejected = sum(data["rejected"].values())
    click.echo(
        f"{data['file']}: {data['rows']:,} rows, {data['scored']:,} scored, "
        f"{data['abstained']:,} not confident enough, {rejected:,} rejected"
    )
    given = data["input"]
    click.echo(f"  input    {given['file']}, {given['rows']:,} rows, sha256 {given['digest']}")
    model = data["model"]
    click.echo(f"  model    {model['name']}@{model['version']}, sha256 {model['digest']} ({found})")
    version = data["version"]
    if version:
        verdict, metrics = version["verdict"], version["metrics"]
        click.echo(f"  trained  {version['created']} on {', '.join(version['sources'] or ['?'])}")
        click.echo(f"           data set {version['dataset']}, run {version['run']}")
        if "accuracy" in metrics:
            click.echo(f"  exam     {metrics['accuracy']:.2%} of {metrics['n']:,} images right")
        click.echo(f"  verdict  {verdict['status']}: {'; '.join(verdict['reasons'])}")
    options = {k: v for k, v in data["options"].items() if v not in (None, [], 0, False)}
    click.echo(f"  options  {options}")
