"""Conformance: built-in and sample plugins pass; what breaks a promise is told which one."""

from __future__ import annotations

import dataclasses
import importlib
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample import SAMPLE, write_pictures
from small import write_idx

from mnist_pipeline.contract.records import Records, Reject
from mnist_pipeline.errors import OutsideError
from mnist_pipeline.evaluate.gate import Finding, Floors
from mnist_pipeline.model.normalize import Scale
from mnist_pipeline.model.perceptrons import Softmax
from mnist_pipeline.plugins import available, build, option
from mnist_pipeline.sources.synthetic import Synthetic
from mnist_pipeline.store.publishers import FinishedVersion
from mnist_pipeline.testing import (
    BrokenPromiseError,
    check_gate,
    check_model,
    check_normalizer,
    check_publisher,
    check_source,
)

CHECKS: dict[str, Any] = {
    "source": check_source,
    "normalizer": check_normalizer,
    "model": check_model,
    "gate": check_gate,
    "publisher": check_publisher,
}


SMALL: dict[str, dict[str, Any]] = {
    "ensemble.v1": {"member": {"kind": "mlp"}},
    "cnn.v1": {"stages": [[4], [6]], "hidden": [16]},
}


@pytest.mark.parametrize(
    ("seam", "name"),
    [
        (seam, info.name)
        for seam in ("normalizer", "model", "gate")
        for info in available(seam)
        if info.package == "mnist-pipeline"
    ],
)
def test_what_is_built_in_keeps_its_promises(seam: str, name: str) -> None:
    CHECKS[seam](build(seam, name, SMALL.get(name, {})))


@pytest.mark.parametrize("name", ["synthetic", "idx", "png"])
def test_the_sources_built_in_keep_their_promises(name: str, digits, tmp_path: Path) -> None:
    images, labels = digits[0][:50], digits[1][:50]
    write_idx(tmp_path / "idx", "train", images, labels)
    write_pictures(tmp_path / "png", images, labels)
    options = {"n": 20} if name == "synthetic" else {"path": str(tmp_path / name)}
    check_source(build("source", name, options))


def sample(module: str, plugin: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SAMPLE))
    return getattr(importlib.import_module(f"digits_sample.{module}"), plugin)


def test_the_sample_plugins_keep_theirs(digits, tmp_path: Path, monkeypatch) -> None:
    folder = write_pictures(tmp_path / "pictures", digits[0][:30], digits[1][:30])
    (folder / "7" / "broken.png").write_bytes(b"no picture")
    check_source(sample("folders", "Folders", monkeypatch)(path=str(folder)))
    check_normalizer(sample("minmax", "MinMax", monkeypatch)(low=-1.0))
    check_model(sample("random_features", "RandomFeatures", monkeypatch)(features=64))
    check_gate(sample("inference_time", "InferenceTime", monkeypatch)())
    webhook = sample("webhook", "Webhook", monkeypatch)()
    with pytest.raises(OutsideError, match="DIGITS_WEBHOOK"):  # its own words, when it cannot
        check_publisher(webhook)


def test_every_sample_plugin_is_short() -> None:
    for path in (SAMPLE / "digits_sample").glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path.name


@dataclasses.dataclass(frozen=True)
class Shelf:
    """A publisher that keeps versions in a list that nobody else sees."""

    def publish(self, version: FinishedVersion) -> str:
        assert version.read("report.html").startswith(b"<!doctype")
        return f"shelf {version.reference}"


def test_a_good_publisher_passes() -> None:
    check_publisher(Shelf())


def broken(base: type[Any], **changes: Any) -> Any:
    """An instance of a plugin class with some methods replaced."""
    return dataclasses.dataclass(frozen=True)(type("Broken", (base,), changes))()


def _written(self, state, images, out=None):
    images[...] = 0


def _nan(self, parameters, x, labels, gradients, **_):
    return 1.0


def _wrong_gradient(self, parameters, x, labels, gradients, **rest):
    loss = Softmax.loss_and_gradients(self, parameters, x, labels, gradients, **rest)
    gradients["W1"] *= 1.1
    return loss


class OnePart:
    name, role, paths = "part", "train", ()

    def __init__(self, records: Any, identity: Any = "0" * 64) -> None:
        self.records, self.digest = records, identity

    def identity(self) -> Any:
        return self.digest

    def read(self, contract: Any) -> Any:
        return None if self.records is None else iter([self.records])


def rows(**changes: Any) -> Records:
    fields = {
        "images": np.zeros((2, 784), np.uint8),
        "labels": np.zeros(2, np.int64),
        "places": np.arange(2),
        "source": "a.csv",
    }
    return Records(**{**fields, **changes})


def reject(place: Any, **changes: Any) -> Reject:
    fields = {"source": "a.csv", "reason": "image_missing", "detail": "none"}
    return Reject(place=place, **{**fields, **changes})


def source_of(part: Any) -> Any:
    return broken(Synthetic, parts=lambda self: [part])


CASES: list[tuple[str, Any, str]] = [
    ("normalizer", broken(Scale, fit=lambda s, b: None), "fit returns a dict"),
    ("normalizer", broken(Scale, fit=lambda s, b: {"p": np.float32(1)}), "no rows|as JSON"),
    ("normalizer", broken(Scale, fit=lambda s, b: {"n": len(list(b))}), "cut into blocks"),
    ("normalizer", broken(Scale, fit=lambda s, b: {"pixels": 784}), "raises a DataError"),
    ("normalizer", broken(Scale, fit=lambda s, b: 1 // 0), "fit goes through"),
    (
        "normalizer",
        broken(Scale, transform=lambda s, st, i, out=None: i / 255),
        r"returns \(B, pixels\) float32",
    ),
    ("normalizer", broken(Scale, transform=lambda s, st, i, out=None: None), "float32"),
    ("normalizer", broken(Scale, transform=_written), "transform goes through"),
    (
        "normalizer",
        broken(Scale, transform=lambda s, st, i, out=None: (i / 255).astype(np.float32)),
        "writes into `out`",
    ),
    (
        "normalizer",
        broken(Scale, affine=lambda s, st: (np.ones(784), np.zeros(784))),
        "as affine says",
    ),
    ("model", broken(Softmax, initialise=lambda s, p, c, rng: []), "arrays by name"),
    (
        "model",
        broken(Softmax, initialise=lambda s, p, c, rng: {"W1": np.zeros((10, 784))}),
        "finite float32",
    ),
    (
        "model",
        broken(
            Softmax,
            initialise=lambda s, p, c, rng: {"W1": np.random.rand(10, 784).astype("f")},  # noqa: NPY002
        ),
        "its generator alone",
    ),
    ("model", broken(Softmax, loss_and_gradients=_nan), "overwrites every number"),
    ("model", broken(Softmax, loss_and_gradients=lambda *a, **k: None), "returns the loss"),
    ("model", broken(Softmax, loss_and_gradients=_wrong_gradient), "∂loss/∂parameters"),
    ("model", broken(Softmax, compile=lambda s, p, n: None), "compile returns a Predictor"),
    ("model", broken(Softmax, lanes=lambda s, b: 0), "lanes is a whole number"),
    ("model", broken(Softmax, dead_units=lambda s, p, x: 7), "dead_units is a share"),
    ("gate", broken(Floors, judge=lambda s, c: None), "NoneType is no Finding"),
    ("gate", broken(Floors, judge=lambda s, c: Finding("maybe", ("a: b",))), "'maybe' is none"),
    ("gate", broken(Floors, judge=lambda s, c: Finding("hold", ("no code",))), "code: sentence"),
    ("gate", broken(Floors, judge=lambda s, c: Finding("hold", ())), "reasons are"),
    ("gate", broken(Shelf), "judge, inspect or both"),
    ("source", broken(Synthetic, parts=lambda self: None), "parts returns a list"),
    ("source", broken(Synthetic, parts=lambda self: [object()]), "has no name"),
    ("source", source_of(OnePart(None)), "read goes through"),
    ("source", source_of(OnePart(rows(), identity=7)), "identity is a sha256"),
    ("source", source_of(OnePart(rows(images=np.zeros((2, 3), np.uint8)))), "images is uint8"),
    ("source", source_of(OnePart(rows(labels=np.zeros(2)))), "labels is float64"),
    ("source", source_of(OnePart(rows(places=np.zeros(2, np.int64)))), "a place of its own"),
    ("source", source_of(OnePart(rows(source="/tmp/a.csv"))), "not a base name"),
    ("source", source_of(OnePart(rows(source=None))), "not a base name"),
    ("source", source_of(OnePart(rows(places=np.arange(2) - 1))), "before the first"),
    ("source", source_of(OnePart(rows(labels=None))), "rows have labels"),
    ("source", source_of(OnePart(rows(rejects=(reject("three"),)))), "place of a Reject"),
    ("source", source_of(OnePart(rows(rejects=(reject(7, source=None),)))), "source of a Reject"),
    ("publisher", broken(Shelf, publish=lambda s, v: None), "publish returns where"),
    (
        "publisher",
        broken(Shelf, publish=lambda s, v: secrets.token_hex()),
        "same place",
    ),
    (
        "publisher",
        broken(Shelf, publish=lambda s, v: v.store.put("models/x", b"x").key),
        "nothing in the workspace",
    ),
]


@pytest.mark.parametrize(("seam", "plugin", "promise"), CASES)
def test_a_broken_plugin_is_told_which_promise_it_breaks(
    seam: str, plugin: Any, promise: str
) -> None:
    with pytest.raises(BrokenPromiseError) as caught:
        CHECKS[seam](plugin)
    assert caught.match(promise)
    assert "'Broken'" in caught.value.headline


@dataclasses.dataclass
class Plain:
    """Not frozen."""


def test_options_are_frozen_described_and_storable() -> None:
    @dataclasses.dataclass(frozen=True)
    class Mute(Scale):
        width: float = 1.0

    @dataclasses.dataclass(frozen=True)
    class Endless(Scale):
        width: float = option(float("inf"), "a width")

    for plugin, promise in (
        (Plain, "frozen"),
        (Mute, "declared with option"),
        (Endless, "storing the options"),
    ):
        with pytest.raises(BrokenPromiseError, match=promise):
            check_normalizer(plugin())
