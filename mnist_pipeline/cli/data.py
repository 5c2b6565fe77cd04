"""`mnist-pipeline data`: drawn digits as files, data from one format into another, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnist_pipeline.cli.console import Console, TerminalReporter, global_options
from mnist_pipeline.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mnist_pipeline.convert.conversion import Conversion

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("idx", "csv", "parquet", "png")
LAYOUTS = ("bytes", "list", "columns", "tensor", "png")
PLACES_SHOWN = 20

OUTPUTS = """\b
Outputs:
  idx       a folder: train-images-idx3-ubyte, train-labels-idx1-ubyte (t10k-… for test rows)
  csv       x.csv or x.csv.gz: one file, label,pixel0…pixel783; a folder: train.csv, test.csv
  parquet   x.parquet: one file, columns label and image; a folder: train.parquet, test.parquet
  png       a folder: <label>/0000000.png, … (train/<label>/… where there are test rows)

\b
Layouts of the image column in Parquet:
  bytes     784 raw bytes: small, and by far the fastest to read (default)
  list      a list of 784 numbers
  tensor    a fixed-shape tensor, 28 × 28
  columns   pixel0 … pixel783, a column a pixel
  png       struct<bytes, path> with a PNG, as Hugging Face's data sets have it

"""


class Named(click.Choice[str]):
    """One of a few names; a wrong one is answered with the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            what = param.opts[0] if param else ""
            raise ConfigError(
                f"{what} {value!r} is not known", remedy=did_you_mean(str(value), self.choices)
            )
        return super().convert(value, param, ctx)


def writing_options(command: F) -> F:
    """Adds the options of commands that write data."""
    options = (
        click.option(
            "--overwrite", is_flag=True, help="Replace an output that was written before."
        ),
        click.option("--compress", is_flag=True, help="Gzip (idx and csv)."),
        click.option("--layout", type=Named(LAYOUTS), help="Of images in Parquet; default bytes."),
        click.option("--unlabelled", is_flag=True, help="Read and write no labels."),
        click.option("--output", required=True, metavar="PATH", help="File or folder to write."),
        click.option("--format", type=Named(FORMATS), required=True, help="What to write."),
    )
    for option in options:
        command = option(command)
    return command


@click.group()
@global_options
def data() -> None:
    """Make, convert and look at data: IDX, CSV, Parquet, folders of PNG; files a night left out."""


@data.command(
    epilog=OUTPUTS
    + """\b
Examples:
  mnist-pipeline data make --format csv --rows 1000 --output drawn.csv
  mnist-pipeline data make --format idx --rows 60000 --seed 7 --output drawn --compress
"""
)
@click.option(
    "--rows", type=click.IntRange(1), default=10_000, show_default=True, help="How many digits."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same."
)
@writing_options
@global_options
@click.pass_obj
def make(console: Console, /, rows: int, seed: int, output: str, **options: Any) -> None:
    """Draw digits from strokes and write them: any number, from a seed, without data."""
    _convert(console, [f"synthetic:n={rows},seed={seed}"], output, (), **options)


@data.command(
    epilog="""\b
Sources: synthetic:n=60000, mnist, idx:DIR, csv:GLOB, parquet:PATH, png:DIR, as for train.

"""
    + OUTPUTS
    + """\b
Rows that break the contract are listed in OUTPUT.rejected.parquet, if they are no more than
data.max_reject_fraction (1 %) of their file; else the exit code is 3, and nothing is written.

\b
Examples:
  mnist-pipeline data convert csv:train.csv --format parquet --output train.parquet
  mnist-pipeline data convert mnist --format png --output pictures
  mnist-pipeline data convert csv:test.csv --unlabelled --format idx --output test --compress
  mnist-pipeline data convert 'csv:landing/*.csv' --format parquet --layout png --output all
"""
)
@click.argument("specs", nargs=-1, required=True, metavar="SPEC…")
@writing_options
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A data key, as train.")
@global_options
@click.pass_obj
def convert(
    console: Console,
    /,
    specs: tuple[str, ...],
    output: str,
    settings: tuple[str, ...],
    **options: Any,
) -> None:
    """Write the rows of any source in another format: checked, lossless, in bounded memory."""
    _convert(console, specs, output, settings, **options)


@data.command(
    epilog="""\b
Examples:
  mnist-pipeline data sheet synthetic:seed=7 --output drawn.png
  mnist-pipeline data sheet csv:test.csv,labelled=false --output test.png
"""
)
@click.argument("spec")
@click.option("--output", required=True, metavar="FILE.png", help="The picture to write.")
@click.option(
    "--columns",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Images a row.",
)
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@click.option("--unlabelled", is_flag=True, help="Read no labels: images in the order they come.")
@global_options
@click.pass_obj
def sheet(
    console: Console, spec: str, output: str, columns: int, overwrite: bool, unlabelled: bool
) -> None:
    """Draw a contact sheet: a row for each class, in order, with its first images."""
    from mnist_pipeline.convert.sheet import write_sheet
    from mnist_pipeline.convert.target import output_path

    drawn = write_sheet(
        spec,
        output_path(output),
        columns=columns,
        labelled=not unlabelled,
        overwrite=overwrite,
        store=console.existing_store(),
        reporter=TerminalReporter(quiet=console.quiet),
    )
    images = sum(drawn.shown.values())
    console.result(drawn.to_json(), f"{images:,} images: {drawn.output}")


def _convert(
    console: Console,
    specs: Sequence[str],
    output: str,
    settings: Sequence[str],
    *,
    format: str,
    unlabelled: bool,
    layout: str | None,
    compress: bool,
    overwrite: bool,
) -> None:
    from mnist_pipeline.configfile import parse_setting, resolve
    from mnist_pipeline.convert.conversion import convert
    from mnist_pipeline.convert.formats import Form
    from mnist_pipeline.convert.target import output_path

    config = resolve([*map(parse_setting, settings), {"data": {"sources": list(specs)}}])
    done = convert(
        specs,
        output_path(output),
        Form(format, labelled=not unlabelled, compress=compress, layout=layout),
        max_reject_fraction=config.data.max_reject_fraction,
        overwrite=overwrite,
        store=console.existing_store(),
        reporter=TerminalReporter(quiet=console.quiet),
    )
    console.result(done.to_json(), lambda: _show(done))


def _show(done: Conversion) -> None:
    """The answer for people."""
    for place in done.places[:PLACES_SHOWN]:
        click.echo("{source}:{place}: {reason}: {detail}".format_map(place))
    rejected = sum(done.rejected.values())
    if rejected > PLACES_SHOWN:
        click.echo(f"… and {rejected - PLACES_SHOWN:,} more")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.rejected.items())
    click.echo(
        f"{done.rows:,} rows: {done.accepted:,} accepted, {rejected:,} rejected"
        + (f" ({reasons}), listed in {done.quarantine}" if rejected else "")
    )
    click.echo(f"output: {done.output} ({done.files:,} file{'s' * (done.files > 1)})")
