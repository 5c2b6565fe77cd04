"""A version as a folder for Hugging Face's hub: a model card, weights, configuration.

The bundle's own files are in it as they are, so `mnist_pipeline.load_folder` reads it; beside them
stand what the hub looks for. The manifest is not: it names files of whoever trained the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mnist_pipeline import __version__
from mnist_pipeline.refs import readable_json, sha256
from mnist_pipeline.store.bundles import FOLDER_FILES, folder_files
from mnist_pipeline.store.publishers import FinishedVersion

HUB_MNIST = "ylecun/mnist"
MNIST_EXAM = "a026666b973122b22a7e522dd898d347d00013eebbb2d9e9983777275b5edc0c"
"""The digest of the exam that MNIST's 10,000 test images make, see `store/exams.py`."""

OWN = re.compile("|".join(map(re.escape, ("README.md", "config.json", *FOLDER_FILES))))
"""The files of such a folder."""

METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "log_loss": ("log_loss", "Log loss"),
    "ece": ("expected_calibration_error", "Expected calibration error"),
}
"""The names of our metrics there, for programs and for people."""

_CARD = """\
# {title}

Reads handwritten digits: 28 × 28 pixels, one of {count} classes ({classes}). A network \
`{network}` with {weights:,} parameters behind the normalizer `{normalizer}`, trained with NumPy \
by mnist-pipeline {package}.

## Use

With the Python package mnist-pipeline {package}, in a folder with the files of this page \
(`huggingface_hub.snapshot_download` fetches them):

```python
import numpy as np
from mnist_pipeline import load_folder

model = load_folder(".")
images = np.zeros((1, {pixels}), np.uint8)  # a row an image, 0 = background to 255 = ink
prediction = model.predict(images)
print(prediction.labels, prediction.confidences)
```

An image is a digit alone, bright on dark, about 20 pixels high and centred by its mass, as in \
MNIST. It answers anything it is shown; how sure it is says little about images of another kind.

## What was measured

On {exam}, none of which it has learned from:

| metric | value |
| --- | --- |
{rows}

{verdict}

## Files

| file | |
| --- | --- |
| `model.safetensors` | the weights by name, without code |
| `model.json` | the network and its options |
| `normalizer.json` | what happens to pixels first |
| `contract.json` | what an image must be, and the classes |
| `golden.parquet` | images with the model's answers, which are compared whenever it is loaded |
| `SHA256SUMS` | of these files, compared too |
| `config.json` | the same in Hugging Face's words |
"""


def model_folder(version: FinishedVersion, license: str | None = None) -> dict[str, bytes]:
    """The files of the folder by name; the same version gives the same bytes.

    Args:
        version: what is to be published.
        license: the id of its license on the hub; without one the card names none.
    """
    files = folder_files(version.read)
    files["config.json"] = readable_json(_config(version))
    files["README.md"] = (_header(version, license) + _card(version)).encode()
    return files


def _config(version: FinishedVersion) -> dict[str, Any]:
    contract, bundle = version.bundle.contract, version.bundle
    names = {str(number): name for number, name in enumerate(contract.classes)}
    return {
        "model_type": "mnist-pipeline",
        "architectures": [bundle.model],
        "image_size": [contract.height, contract.width],
        "num_channels": 1,
        "num_labels": len(contract.classes),
        "id2label": names,
        "label2id": {name: int(number) for number, name in names.items()},
        "mnist_pipeline": {
            "name": version.manifest.name,
            "version": version.manifest.version,
            "manifest": sha256(version.manifest.to_bytes()),
            "package": __version__,
        },
    }


def _header(version: FinishedVersion, license: str | None) -> str:
    """The card's metadata: https://huggingface.co/docs/hub/model-cards, as YAML."""
    manifest, learned = version.manifest, _learned_from(version.manifest.config)
    header: dict[str, Any] = {"license": license} if license else {}
    header |= {
        "library_name": "mnist-pipeline",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "mnist", "handwritten-digits", "numpy", "safetensors"],
    }
    header |= {"datasets": [HUB_MNIST]} if "mnist" in learned else {}
    header["metrics"] = [METRICS[key][0] for key in METRICS if key in manifest.metrics]
    dataset = {"name": f"exam of {manifest.name}", "type": "other"}
    if manifest.exam == MNIST_EXAM:
        dataset = {"name": "MNIST", "type": HUB_MNIST, "split": "test"}
    results = {
        "task": {"type": "image-classification", "name": "Handwritten digits"},
        "dataset": dataset,
        "metrics": [
            {"type": name, "name": words, "value": manifest.metrics[key]}
            for key, (name, words) in METRICS.items()
            if key in manifest.metrics
        ],
    }
    header["model-index"] = [{"name": version.reference, "results": [results]}]
    # A value in JSON is a value in YAML, and needs no other package.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()]
    return "\n".join(["---", *lines, "---", "", ""])


def _card(version: FinishedVersion) -> str:
    manifest, bundle = version.manifest, version.bundle
    n = manifest.metrics.get("n", 0)
    exam = f"{n:,} images that were set aside"
    if manifest.exam == MNIST_EXAM:
        exam = f"{n:,} test images of MNIST"
    rows = [
        f"| {words} | {manifest.metrics[key]:.4f} |"
        for key, (_, words) in METRICS.items()
        if key in manifest.metrics
    ]
    reasons = "\n".join(f"- {reason}" for reason in manifest.verdict["reasons"])
    return _CARD.format(
        title=version.reference,
        count=len(bundle.contract.classes),
        classes=", ".join(bundle.contract.classes),
        network=bundle.model,
        weights=sum(array.size for array in bundle.parameters.values()),
        normalizer=bundle.normalizer.name,
        package=__version__,
        pixels=bundle.contract.pixels,
        exam=exam,
        rows="\n".join(rows),
        verdict=f"The gate's verdict was *{manifest.verdict['status']}*:\n\n{reasons}",
    )


def _learned_from(config: Mapping[str, Any]) -> set[str]:
    """The names of the sources it was trained on, without the places where they lie."""
    return {str(spec).partition(":")[0] for spec in config["data"]["sources"]}
