"""Real handwriting, poisoned in thirty ways: the champion does not change, and the reason says why.

A clean night, on the other hand, is promoted. MNIST's test images are not used.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from homes import Home, settle
from poisons import POISONS, Rows, write_parquet

from mnist_pipeline.store.registry import Registry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SETTINGS = ("train.epochs=5", "model.hidden=[128]", "gate.min_accuracy=0.8", "gate.min_recall=0.7")


@pytest.fixture(scope="module")
def mnist() -> Rows:
    """MNIST's 60,000 training images."""
    folder = os.environ.get("MNIST_DATA_DIR", "")
    if not folder:
        pytest.skip("MNIST_DATA_DIR does not name a folder with MNIST's four files")
    images = gzip.decompress((Path(folder) / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((Path(folder) / "train-labels-idx1-ubyte.gz").read_bytes())
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784),
        np.frombuffer(labels, np.uint8, offset=8),
    )


def rows(mnist: Rows, start: int, end: int) -> Rows:
    return mnist[0][start:end], mnist[1][start:end]


@pytest.fixture(scope="module")
def settled(mnist: Rows, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """20,000 known rows, and 1,000 of yesterday; 1,000 more may come."""
    folder = tmp_path_factory.mktemp("nights") / "home"
    parts = (rows(mnist, 0, 20_000), rows(mnist, 20_000, 21_000), rows(mnist, 21_000, 22_000))
    return settle(folder, *parts, SETTINGS)


@pytest.fixture
def home(settled: Home, tmp_path: Path) -> Home:
    return settled.copied(tmp_path / "home")


@pytest.mark.parametrize("kind", POISONS)
def test_a_poisoned_night_changes_no_champion_and_says_why(kind: str, home: Home) -> None:
    poison, before = POISONS[kind], home.champion
    poison.make(home.night)
    outcome = home.train(sources=poison.sources).outcome
    assert home.champion == before
    assert outcome.status == poison.status, outcome.reasons
    said = [r for r in outcome.reasons if r.startswith(poison.codes) and poison.names in r]
    assert said, outcome.reasons
    if outcome.status == "held":
        assert outcome.version is None
        assert [info.version for info in Registry(home.store).versions("digits")] == [1]
        again = home.train("gate.fail_on_hold=true", sources=poison.sources)
        assert (again.outcome.status, again.outcome.exit_code) == ("unchanged", 4)
        assert again.outcome.reasons[1:] == outcome.reasons
        assert "inspect" not in again.seconds


def test_a_clean_file_is_learned_from(home: Home) -> None:
    home.night.land(*home.night.new)
    result = home.train()
    assert result.outcome.version == 2
    assert result.dataset["rows"] == 22_000


@pytest.mark.parametrize("size", [50, 250])
def test_clean_small_files_are_learned_from(size: int, home: Home) -> None:
    images, labels = home.night.new
    for k in range(0, len(labels), size):
        home.night.land(images[k : k + size], labels[k : k + size], f"{k:04}.parquet")
    assert home.train().outcome.version == 2


def test_a_clean_night_with_much_more_data_is_promoted(mnist: Rows, tmp_path: Path) -> None:
    parts = (rows(mnist, 0, 2_000), rows(mnist, 2_000, 2_200), rows(mnist, 2_200, 22_200))
    home = settle(tmp_path / "home", *parts, SETTINGS)
    write_parquet(home.night.landing / "new.parquet", *home.night.new)
    outcome = home.train().outcome
    assert (outcome.status, outcome.version) == ("promoted", 2)
    assert home.champion == (2, 2)
    assert any(reason.startswith("better_than_champion") for reason in outcome.reasons)
