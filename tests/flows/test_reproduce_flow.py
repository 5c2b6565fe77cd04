"""A version that a Prefect flow made is made again without Prefect, bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import SETTINGS

from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.pipeline import run_pipeline
from mnist_pipeline.reporting import Silent
from mnist_pipeline.reproduce.reproduction import reproduce
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.survey import AT_WORK

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]


def test_through_both_engines(workspace: Path, tmp_path: Path) -> None:
    from flows.training import training_flow

    layers = [parse_setting(setting) for setting in SETTINGS]
    config = resolve([*layers, {"data": {"sources": ["synthetic:n=400,seed=3"]}}])
    assert training_flow(config, str(workspace)).outcome.status == "promoted"
    assert not list(workspace.glob(f"runs/*/{AT_WORK}"))
    other = Store.open(tmp_path / "plain")
    run_pipeline(Run(other, config))
    found = [
        reproduce(store, "digits@1", from_sources=from_sources, reporter=Silent())
        for store in (Store.open(workspace, writable=False), other)
        for from_sources in (False, True)
    ]
    assert [one.error for one in found] == [None] * 4
    assert len({str(one.stages[1:]) for one in found}) == 1  # both engines made the same
