"""docs/onnx.md as it stands: its commands run, its Python answers, its configuration is one."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.configfile import resolve
from mnist_pipeline.export.onnx_file import onnx_bytes
from mnist_pipeline.export.onnx_publisher import Onnx
from mnist_pipeline.model.perceptrons import Softmax
from mnist_pipeline.stages.resolve import publishers_of
from mnist_pipeline.store.objects import Store
from mnist_pipeline.testing.publishers import small_version

PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```\n", re.DOTALL)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, digits) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_PIPELINE_WORKSPACE", str(tmp_path / "workspace"))
    bundle = small_version(Store.open(tmp_path / "workspace")).bundle
    names: dict[str, Any] = {}
    kinds = []
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        kinds.append(kind)
        if kind == "sh":
            for line in text.splitlines():
                program, *words = shlex.split(line)
                assert (program, main(words)) == ("mnist-pipeline", 0), line
        elif kind == "python":
            exec(text, names)
        else:
            config = resolve([tomllib.loads(text)])
            assert publishers_of(config) == {"onnx.v1": Onnx("shelf")}
    assert kinds == ["sh", "python", "python", "toml", "sh", "python"]
    assert json.loads(capsys.readouterr().out.splitlines()[2]) == list("0123456789")
    np.testing.assert_array_equal(names["labels"], bundle.predict(names["images"]).labels)
    assert Path("shelf/digits-1.onnx").read_bytes() == Path("digits.onnx").read_bytes()

    @dataclasses.dataclass(frozen=True)
    class Own(Softmax):
        to_onnx = names["to_onnx"]

    rng = np.random.default_rng(0)
    parameters = {"W1": rng.standard_normal((10, 784), np.float32), "b1": np.ones(10, np.float32)}
    own = dataclasses.replace(bundle, spec=Own(), parameters=parameters)
    images = digits[0]
    session = onnxruntime.InferenceSession(onnx_bytes(own, "own", {}))
    answers = session.run(["probabilities"], {"images": images})[0]
    np.testing.assert_allclose(answers, own.predict(images).probabilities, rtol=0, atol=1e-5)
