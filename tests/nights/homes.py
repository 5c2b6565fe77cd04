"""A champion in a workspace, beside the files it has learned from; copied for every night."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from poisons import Night, Rows, write_parquet

from mnist_pipeline.configfile import load_preset, parse_setting, resolve
from mnist_pipeline.pipeline import Result, run_pipeline
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry


@dataclasses.dataclass(frozen=True)
class Home:
    """A folder with base data, a landing and a workspace.

    Attributes:
        night: what a poisoner has at hand.
        settings: of every training here.
    """

    folder: Path
    night: Night
    settings: tuple[str, ...]

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "workspace")

    @property
    def champion(self) -> tuple[int, int]:
        """Version and number of the champion's entry."""
        entry = Registry(self.store).champion("digits")
        assert entry is not None
        return entry.value["version"], entry.sequence

    def train(self, *settings: str, sources: Sequence[str] = (), **options: Any) -> Result:
        """A night."""
        landing = [f"parquet:{self.folder}/landing/*.parquet"]
        landing += [f"csv:{self.folder}/landing/*.csv", f"csv:{self.folder}/landing/*.csv.gz"]
        named = [f"parquet:{self.folder}/base.parquet"]
        named += [source.format(other=self.night.other) for source in sources]
        layers = [load_preset("fast"), *map(parse_setting, (*self.settings, *settings))]
        config = resolve([*layers, {"data": {"sources": named, "landing": landing}}])
        return run_pipeline(Run(self.store, config, **options))

    def copied(self, folder: Path) -> Home:
        shutil.copytree(self.folder, folder)
        night = dataclasses.replace(self.night, landing=folder / "landing", other=folder / "other")
        return Home(folder, night, self.settings)


def settle(folder: Path, base: Rows, yesterday: Rows, new: Rows, settings: tuple[str, ...]) -> Home:
    """A champion that has learned from `base` and from yesterday's file."""
    (folder / "landing").mkdir(parents=True)
    write_parquet(folder / "base.parquet", *base)
    write_parquet(folder / "landing" / "yesterday.parquet", *yesterday)
    night = Night(folder / "landing", folder / "other", new, yesterday, new)
    home = Home(folder, night, settings)
    assert home.train().outcome.status == "promoted"
    return dataclasses.replace(home, night=dataclasses.replace(night, exam=_exam_of(home)))


def _exam_of(home: Home) -> Rows:
    (path,) = (home.folder / "workspace" / "exams").glob("*.parquet")
    table = pq.read_table(path)
    images = np.array([np.frombuffer(row, np.uint8) for row in table["image"].to_pylist()])
    return images[:600], table["label"].to_numpy()[:600]
