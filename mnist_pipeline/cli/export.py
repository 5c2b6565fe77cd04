"""`mnist-pipeline models export`: a version as files for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnist_pipeline.cli.console import Console, global_options
from mnist_pipeline.cli.data import Named
from mnist_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from mnist_pipeline.store.publishers import FinishedVersion

FORMATS = ("huggingface", "onnx")


@click.command(
    epilog="""\b
onnx: a file that takes raw pixels, `images` uint8 (N, 784), 0 = background to 255 = ink, and gives
`label` int64 (N,) and `probabilities` float32 (N, 10); normalization is inside. It is written only
if onnxruntime gives the version's own answers to its golden batch.
Needs: pip install 'mnist-pipeline[onnx]'

\b
huggingface: a folder for the hub: README.md (the model card with what was measured), config.json,
model.safetensors and the other files of the model. `mnist_pipeline.load_folder` reads it.

\b
Examples:
  mnist-pipeline models export digits@3 --format onnx --output digits-3.onnx
  mnist-pipeline models export digits --format onnx --output s3://models/digits.onnx --overwrite
  mnist-pipeline models export digits --format huggingface --output digits-hub --license mit
"""
)
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option(
    "--format", type=Named(FORMATS), required=True, help="What to write: huggingface or onnx."
)
@click.option("--output", required=True, metavar="FILE|DIR|URL", help="Where to write it.")
@click.option("--overwrite", is_flag=True, help="Replace what is there, if it is such an export.")
@click.option("--license", metavar="ID", help="Of the model, as the hub calls it, e.g. mit.")
@global_options
@click.pass_obj
def export(
    console: Console, reference: str, format: str, output: str, overwrite: bool, license: str | None
) -> None:
    """Write a version for use without this program; it is verified first."""
    from mnist_pipeline.store.publishers import finished_version
    from mnist_pipeline.store.registry import Registry

    if license is not None and format != "huggingface":
        raise ConfigError(
            f"--license means nothing to --format {format}", remedy="leave --license out"
        )
    store = console.store(writable=False)
    manifest = Registry(store).find(reference)
    version = finished_version(store, manifest)
    if format == "onnx":
        data, words = _onnx(version, output, overwrite=overwrite)
    else:
        data, words = _huggingface(version, output, overwrite=overwrite, license=license)
    about = {"model": manifest.name, "version": manifest.version, "format": format}
    console.result({**about, **data}, f"{version.reference} as {format}: {words}")


def _onnx(version: FinishedVersion, output: str, *, overwrite: bool) -> tuple[dict[str, Any], str]:
    from mnist_pipeline.export.onnx_file import SIGNATURE, onnx_file
    from mnist_pipeline.export.target import ExportTarget
    from mnist_pipeline.refs import sha256

    target = ExportTarget(output, overwrite=overwrite, signature=SIGNATURE)
    exported = onnx_file(version)
    target.write(exported.data)
    data = {
        "output": target.output,
        "size": len(exported.data),
        "digest": sha256(exported.data),
        "largest_difference": exported.largest_difference,
    }
    words = (
        f"{target.output} ({len(exported.data):,} bytes)\n"
        f"its golden batch: {exported.images} labels equal, "
        f"probabilities within {exported.largest_difference:.1g}"
    )
    return data, words


def _huggingface(
    version: FinishedVersion, output: str, *, overwrite: bool, license: str | None
) -> tuple[dict[str, Any], str]:
    from mnist_pipeline.convert.target import Target, output_path
    from mnist_pipeline.export.huggingface import OWN, model_folder

    target = Target(output_path(output), folder=True, overwrite=overwrite, own=OWN)
    target.check()
    files = model_folder(version, license)
    with target.staged() as staging:
        staging.path.mkdir()
        for name, content in files.items():
            (staging.path / name).write_bytes(content)
        staging.publish()
    size = sum(map(len, files.values()))
    data = {"output": str(target.path), "size": size, "files": sorted(files)}
    return data, f"{target.path} ({len(files)} files, {size:,} bytes)"
