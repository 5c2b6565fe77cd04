"""An ensemble by both engines: members learn in processes of a Prefect flow run, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import train_words

from mnist_pipeline.cli import main
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]


def test_both_engines_give_the_same_bytes(idx_folder: Path, tmp_path: Path, capsys) -> None:
    digests = []
    for engine in ("prefect", "plain"):
        settings = ["model.kind=ensemble", "model.member.kind=softmax", "predict.views=5"]
        words = [word for setting in settings for word in ("--set", setting)]
        workspace = tmp_path / engine
        assert main([*train_words(idx_folder, workspace, engine), *words]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "promoted"
        files = Registry(Store.open(workspace)).manifest("digits", 1).files
        names = ("model.json", "model.safetensors", "metrics.json", "golden.parquet")
        digests.append([files[name].digest for name in names])
    assert digests[0] == digests[1]
