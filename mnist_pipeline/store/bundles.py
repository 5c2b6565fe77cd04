"""Bundles in the store: written as files, read back only if every digest and answer holds."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from mnist_pipeline import plugins
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import bytes_column, bytes_view
from mnist_pipeline.errors import IntegrityError, OutsideError, PipelineError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.plugins import MissingPluginError
from mnist_pipeline.refs import readable_json, sha256
from mnist_pipeline.store.manifest import Manifest, packages_in
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.store.together import together

BUNDLE_FILES = ("model.json", "model.safetensors", "contract.json", "normalizer.json")
GOLDEN = "golden.parquet"
SUMS = "SHA256SUMS"
FOLDER_FILES = (*BUNDLE_FILES, GOLDEN, SUMS)
"""What makes a folder a model that can be used without the store it was made in."""

GOLDEN_ROWS = 32
GOLDEN_TOLERANCE = 1e-5

DEFAULT_MODEL = "digits@champion"


def bundle_files(bundle: Bundle) -> dict[str, bytes]:
    """A bundle as the files it is stored in, by name; the same bundle gives the same bytes."""
    # safetensors writes memory as it lies: a transposed array would come back scrambled.
    parameters = {name: np.asarray(a, order="C") for name, a in bundle.parameters.items()}
    return {
        "model.json": readable_json(bundle.model_json()),
        # Without metadata: its key order is not stable, and the digest would not be either.
        "model.safetensors": save_tensors(parameters),
        "contract.json": readable_json(bundle.contract.to_json()),
        "normalizer.json": readable_json(bundle.normalizer.to_json()),
    }


def bundle_from(files: Mapping[str, bytes]) -> Bundle:
    """The inverse of `bundle_files`.

    Raises:
        IntegrityError: a file is missing or is not what it should be.
        ConfigError: its plugin is not installed.
    """
    try:
        model = json.loads(files["model.json"])
        if model["format"] != 1:
            raise ValueError(f"format {model['format']} is not known")
        return Bundle(
            contract=ImageContract.from_json(json.loads(files["contract.json"])),
            normalizer=FittedNormalizer.from_json(json.loads(files["normalizer.json"])),
            model=model["model"],
            spec=plugins.build("model", model["model"], model["spec"]),
            parameters=load_tensors(files["model.safetensors"]),
            **model["prediction"],
        )
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise IntegrityError(
            "a bundle is damaged",
            cause=f"{type(error).__name__}: {error}",
            remedy="restore it from a backup, or use another version",
        ) from None


def golden_file(bundle: Bundle, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> bytes:
    """`golden.parquet`: the first exam images with their labels and this bundle's answers."""
    images, labels = images[:GOLDEN_ROWS], labels[:GOLDEN_ROWS]
    probabilities = bundle.predict(images).probabilities
    classes = probabilities.shape[1]
    table = pa.table(
        {
            "image": bytes_column(images),
            "label": labels,
            "probabilities": pa.FixedSizeListArray.from_arrays(probabilities.ravel(), classes),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def golden_images(golden: bytes) -> NDArray[np.uint8]:
    """The images (N, pixels) of a golden batch."""
    table = pq.read_table(io.BytesIO(golden), columns=["image"])
    return bytes_view(table["image"].combine_chunks())


def check_golden(bundle: Bundle, golden: bytes) -> None:
    """Holds a bundle's answers against those it gave when it was made.

    Raises:
        IntegrityError: a label differs, or a probability by more than 1e-5.
    """
    images = golden_images(golden)
    answers = pq.read_table(io.BytesIO(golden), columns=["probabilities"])["probabilities"]
    answers = answers.combine_chunks()
    expected = answers.values.to_numpy().reshape(-1, answers.type.list_size)
    found = bundle.predict(images).probabilities
    if found.shape == expected.shape and len(found):
        off = float(np.abs(found - expected).max())
        if off <= GOLDEN_TOLERANCE and (found.argmax(1) == expected.argmax(1)).all():
            return
    else:
        off = float("nan")
    raise IntegrityError(
        "the model does not give the answers of its golden batch",
        largest_difference=f"{off:.3g}",
        allowed=GOLDEN_TOLERANCE,
        remedy="do not use this version here: promote another, or check the NumPy build",
    )


def read_files(store: Store, manifest: Manifest) -> dict[str, bytes]:
    """All files of a version but its report, each checked against the manifest.

    Raises:
        IntegrityError: one is missing or differs.
    """
    files = {}
    wanted = {name: ref for name, ref in manifest.files.items() if name != "report.html"}
    contents = together(store, store.get, [ref.key for ref in wanted.values()])
    for (name, ref), data in zip(wanted.items(), contents, strict=True):
        if sha256(data) != ref.digest:
            raise IntegrityError(
                f"{name} of {manifest.name}@{manifest.version} is not what was published",
                key=ref.key,
                expected=ref.digest[:16],
                found=sha256(data)[:16],
                remedy="restore it from a backup, or promote another version",
            )
        files[name] = data
    return files


def read_bundle(store: Store, manifest: Manifest) -> Bundle:
    """The bundle of a version, its digests, contract and golden batch checked.

    Raises:
        IntegrityError: something does not hold.
        OutsideError: a package with a plugin of it is missing or broken.
    """
    files = read_files(store, manifest)
    try:
        bundle = bundle_from(files)
    except MissingPluginError as error:
        raise _needs(manifest, error) from None
    if bundle.contract.fingerprint != manifest.contract:
        raise IntegrityError(
            "the contract in the bundle is not the manifest's",
            expected=manifest.contract[:16],
            found=bundle.contract.fingerprint[:16],
            remedy="restore contract.json from a backup",
        )
    if "golden.parquet" not in files:
        raise IntegrityError(
            f"{manifest.name}@{manifest.version} has no golden batch to be checked with",
            remedy="do not use this version: promote another",
        )
    check_golden(bundle, files["golden.parquet"])
    return bundle


def _needs(manifest: Manifest, error: MissingPluginError) -> OutsideError:
    """The error for a version whose plugin is not here, with the package that had it."""
    package = packages_in(manifest.environment).get(error.name)
    headline = f"{manifest.name}@{manifest.version} cannot be used here"
    return plugins.uninstalled(headline, error, package)


def verify_version(store: Store, manifest: Manifest) -> Bundle:
    """The bundle, after a check of all a manifest promises: files, report too, and answers.

    Raises:
        IntegrityError: something does not hold.
    """
    whole = together(store, store.verifies, manifest.files.values())
    for (name, ref), verifies in zip(manifest.files.items(), whole, strict=True):
        if not verifies:
            raise IntegrityError(
                f"{name} of {manifest.name}@{manifest.version} is missing or was changed",
                key=ref.key,
                remedy="restore it from a backup, or promote another version",
            )
    return read_bundle(store, manifest)


def load_model(reference: str = DEFAULT_MODEL, workspace: str | Path | None = None) -> Bundle:
    """A published model, ready to predict: `load_model("digits@champion").predict(images)`.

    Args:
        reference: `name@version`, `name@champion`, or `name` for its champion.
        workspace: a folder or URL; default: `MNIST_PIPELINE_WORKSPACE`, else `./workspace`.

    Raises:
        PipelineError: there is no such version, or it does not verify.
    """
    where = workspace or os.environ.get("MNIST_PIPELINE_WORKSPACE") or "workspace"
    store = Store.open(where, writable=False)
    manifest = Registry(store).find(reference)
    return read_bundle(store, manifest)


def folder_files(read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The files that `load_folder` reads; `read` gives those of a version by their names.

    `SHA256SUMS` is among them: flipped bits in weights may leave the golden answers as they are.
    """
    kept = {name: read(name) for name in (*BUNDLE_FILES, GOLDEN)}
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in kept.items())
    return {**kept, SUMS: sums.encode()}


def load_folder(path: str | Path) -> Bundle:
    """A model from a folder that it was exported to, ready to predict; no workspace is needed.

    Raises:
        IntegrityError: a file is missing or damaged, or the model does not give its golden answers.
        ConfigError: its plugin is not installed.
    """
    files = {}
    for name in FOLDER_FILES:
        try:
            files[name] = (Path(path) / name).read_bytes()
        except OSError as error:
            raise IntegrityError(
                f"{path} is not the folder of a model: {name} cannot be read",
                cause=error.strerror or str(error),
                remedy="name a folder that `models export --format huggingface` has written",
            ) from None
    sums = folder_files(files.__getitem__)[SUMS]
    if sums != files[SUMS]:
        raise IntegrityError(
            f"a file of the model in {path} is not what was exported",
            expected=files[SUMS].decode(errors="replace").splitlines(),
            found=sums.decode().splitlines(),
            remedy="fetch or export the folder again",
        )
    bundle = bundle_from(files)
    check_golden(bundle, files[GOLDEN])
    return bundle


def why_unusable(store: Store, name: str, version: int) -> PipelineError | None:
    """What is wrong with a version, or None if it verifies."""
    try:
        verify_version(store, Registry(store).manifest(name, version))
    except PipelineError as error:
        return error
    return None
