"""Plugins of other packages that misbehave on demand, and what must be told of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mnist_pipeline.cli import main

Install = Callable[..., str]

SOURCE = """
from __future__ import annotations
import dataclasses, sys
from pathlib import Path
import numpy as np
from mnist_pipeline.contract.records import Records, Reject
from mnist_pipeline.plugins import option

class MuteError(Exception):
    def __str__(self):
        raise ValueError("no words")

@dataclasses.dataclass(frozen=True)
class Other:
    def parts(self):
        return []

@dataclasses.dataclass(frozen=True)
class Thing:
    does: str = option("pass", "a statement, run behind the first block")
    given: str = option("pass", "a statement that changes what the first block is made of")
    asked: str = option("pass", "a statement, run when the part is asked who it is")

    def parts(self):
        return [Part(self)]

@dataclasses.dataclass(frozen=True)
class Part:
    thing: Thing
    name, role, paths = "thing", "train", ()

    def identity(self):
        exec(self.thing.asked)
        return "0" * 64

    def read(self, contract):
        n = 400
        rng = np.random.default_rng(0)
        rows = {
            "images": rng.integers(0, 255, (n, 784), np.uint8), "labels": np.arange(n) % 10,
            "places": np.arange(n), "source": "thing",
        }
        good = dict(source="thing", place=1, reason="image_missing", detail="none")
        exec(self.thing.given)
        yield Records(**rows)
        exec(self.thing.does)
"""

PLUGIN = """
from __future__ import annotations
import dataclasses, inspect, sys
import numpy as np
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.evaluate.gate import Finding, Floors
from mnist_pipeline.model.normalize import Scale
from mnist_pipeline.model.perceptrons import Softmax
from mnist_pipeline.plugins import option

def late():
    return not any("mnist_pipeline/testing" in frame.filename for frame in inspect.stack())

@dataclasses.dataclass(frozen=True)
class Thing(BASE):
    BODY
"""
NAMED = {
    "normalizer": "normalize.kind=thing",
    "gate": 'gate.rules=["thing"]',
    "model": "model.kind=thing",
    "publisher": 'publish.to=["thing"]',
}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    code = main([*words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err


def spec(**options: str) -> str:
    return "thing:" + ",".join(f"{name}={value}" for name, value in options.items())


def assert_told(code: int, told: dict[str, Any], log: str, seam: str) -> dict[str, Any]:
    """The error is the plugin's, with its package; returns it."""
    error: dict[str, Any] = told["error"]
    assert code == 6, error
    assert f"the {seam} 'thing.v1'" in error["headline"]
    assert error["facts"]["package"] == "acme 1.5"
    assert "Traceback" not in log
    assert "hunter2" not in str(told) + log
    return error
