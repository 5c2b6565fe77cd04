"""A small bundle, a manifest and a published version, for the tests of `store`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.refs import Ref
from mnist_pipeline.store.bundles import bundle_files, golden_file
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

CONTRACT = ImageContract(4, 4, ("a", "b", "c"))


def images_of(count: int) -> np.ndarray:
    """Random images (count, 16) uint8, always the same."""
    return np.random.default_rng(3).integers(0, 256, (count, CONTRACT.pixels), np.uint8)


def make_bundle(seed: int = 1) -> Bundle:
    """A network with random weights."""
    spec = Mlp(hidden=(5,), init="uniform")
    parameters = spec.initialise(CONTRACT.pixels, 3, np.random.default_rng(seed))
    normalizer = FittedNormalizer.fit("scale", {}, [images_of(3)])
    return Bundle(CONTRACT, normalizer, "mlp.v1", spec, parameters)


def make_manifest(name: str = "digits", version: int = 1, **changes: Any) -> Manifest:
    """A manifest of one file that does not exist; fields may be given by name."""
    fields: dict[str, Any] = {
        "created": "2030-01-02T03:04:05Z",
        "run": "r1",
        "run_key": "key",
        "verdict": {"status": "promote", "reasons": ["first: above the floors"]},
        "metrics": {"accuracy": 0.97, "n": 100},
        "contract": CONTRACT.fingerprint,
        "dataset": "d" * 64,
        "exam": "e" * 64,
        "config": {"name": name, "train": {"seed": 1}},
        "code": "f" * 64,
        "environment": {"python": "3.11"},
        "files": {"model.json": Ref(f"models/{name}/versions/{version}/model.json", "0", 1)},
    }
    return Manifest(name=name, version=version, **(fields | changes))


def run_record(**changes: Any) -> dict[str, Any]:
    """What a finished run leaves in the series of runs; values may be given by name."""
    return {"run": "r1", "run_key": "key", "status": "held", "version": None} | changes


def publish_bundle(store: Store, bundle: Bundle, name: str = "digits") -> Manifest:
    """Publishes a version with all its files, as the pipeline does."""
    registry = Registry(store)
    version = registry.claim(name, "r1", "key")
    files = bundle_files(bundle)
    files["golden.parquet"] = golden_file(bundle, images_of(40), np.zeros(40, np.uint8))
    files |= {"metrics.json": b"{}", "report.html": b"<p>report</p>"}
    prefix = registry.prefix(name, version)
    refs = {file: store.put(f"{prefix}/{file}", data) for file, data in files.items()}
    manifest = make_manifest(name, version, files=refs, contract=bundle.contract.fingerprint)
    registry.publish(manifest)
    return manifest
