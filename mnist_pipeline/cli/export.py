"""`mnist-pipeline models export`: a version as a file for other programs."""

from __future__ import annotations

import click

from mnist_pipeline.cli.console import Console, global_options
from mnist_pipeline.cli.data import Named

FORMATS = ("onnx",)


@click.command(
    epilog="""\b
The ONNX file takes raw pixels, `images` uint8 (N, 784), 0 = background to 255 = ink, and gives
`label` int64 (N,) and `probabilities` float32 (N, 10); normalization is inside. It is written only
if onnxruntime gives the version's own answers to its golden batch.

\b
Needs: pip install 'mnist-pipeline[onnx]'

\b
Examples:
  mnist-pipeline models export digits@3 --format onnx --output digits-3.onnx
  mnist-pipeline models export digits --format onnx --output s3://models/digits.onnx --overwrite
"""
)
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--format", type=Named(FORMATS), required=True, help="What to write: onnx.")
@click.option("--output", required=True, metavar="FILE|URL", help="The file to write.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@global_options
@click.pass_obj
def export(console: Console, reference: str, format: str, output: str, overwrite: bool) -> None:
    """Write a version for use without this program; it is verified first."""
    from mnist_pipeline.export.onnx_file import onnx_file
    from mnist_pipeline.export.target import ExportTarget
    from mnist_pipeline.refs import sha256
    from mnist_pipeline.store.publishers import finished_version
    from mnist_pipeline.store.registry import Registry

    store = console.store(writable=False)
    manifest = Registry(store).find(reference)
    target = ExportTarget(output, overwrite=overwrite)
    exported = onnx_file(finished_version(store, manifest))
    target.write(exported.data)
    data = {
        "model": manifest.name,
        "version": manifest.version,
        "format": format,
        "output": target.output,
        "size": len(exported.data),
        "digest": sha256(exported.data),
        "largest_difference": exported.largest_difference,
    }
    console.result(
        data,
        f"{manifest.name}@{manifest.version} as {format}: {target.output} "
        f"({len(exported.data):,} bytes)\n"
        f"its golden batch: {exported.images} labels equal, "
        f"probabilities within {exported.largest_difference:.1g}",
    )
