"""What a publisher promises."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from mnist_pipeline.config import Config
from mnist_pipeline.contract.spec import DIGITS, ImageContract
from mnist_pipeline.evaluate.metrics import measure
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.model.normalize import FittedNormalizer
from mnist_pipeline.model.perceptrons import Mlp
from mnist_pipeline.refs import readable_json
from mnist_pipeline.store.bundles import bundle_files, golden_file
from mnist_pipeline.store.manifest import Manifest, environment
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import FinishedVersion, Publisher, finished_version
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.testing.promises import Promises, samples


def check_publisher(publisher: Publisher) -> None:
    """Has it publish a small version twice, then once more as champion.

    The publisher is the real one: what it publishes to has to be there.

    Raises:
        BrokenPromiseError: which promise does not hold.
        PipelineError: the publisher's own, if it cannot publish.
    """
    promises = Promises("publisher", publisher)
    promises.options()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder)
        version = small_version(store)
        before = _bytes_below(Path(folder))
        with promises.working("publish"):
            where = publisher.publish(version)
            again = publisher.publish(version)
            promoted = publisher.publish(dataclasses.replace(version, is_champion=True))
        words = isinstance(where, str) and where.strip()
        promises(words, "publish returns where the version is now, a text", repr(where))
        promises(again == where, "the same version twice is in the same place", again)
        promises(promoted == where, "a version that became champion stays where it is", promoted)
        kept = _bytes_below(Path(folder)) == before
        promises(kept, "nothing in the workspace changes")


def small_version(store: Store, name: str = "digits") -> FinishedVersion:
    """Version 1 of a name in a store: a small network that has learned nothing."""
    images, labels = samples()
    spec, contract = Mlp(hidden=(8,)), ImageContract()
    parameters = spec.initialise(contract.pixels, len(DIGITS), np.random.default_rng(1))
    normalizer = FittedNormalizer.fit("scale", {}, iter([images]))
    bundle = Bundle(contract, normalizer, "mlp.v1", spec, parameters)
    metrics = measure(labels, bundle.predict(images).probabilities, DIGITS)
    files = bundle_files(bundle) | {
        "metrics.json": readable_json(metrics.to_json()),
        "golden.parquet": golden_file(bundle, images, labels.astype(np.uint8)),
        "history.json": readable_json([]),
        "report.html": b"<!doctype html><title>a small version</title>",
    }
    prefix = Registry(store).prefix(name, 1)
    config = Config(name=name)
    manifest = Manifest(
        name=name,
        version=1,
        created="2026-01-01T00:00:00Z",
        run="20260101T000000Z-00000000",
        run_key="0" * 64,
        verdict={"status": "hold", "reasons": ["sample: nobody judged it"], "against": None},
        metrics={"accuracy": metrics.accuracy, "n": metrics.n},
        contract=contract.fingerprint,
        dataset="d" * 64,
        exam="e" * 64,
        config=config.meaning(),
        code="c" * 64,
        environment=environment({}),
        files={file: store.put(f"{prefix}/{file}", data) for file, data in files.items()},
    )
    Registry(store).publish(manifest)
    return finished_version(store, manifest)


def _bytes_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
