"""The landing: what is bad is left out and said, what is named fails as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small import write_idx

from mnist_pipeline.configfile import resolve
from mnist_pipeline.contract.records import Records
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.sources.csv import CsvPart
from mnist_pipeline.stages.ingest import Part
from mnist_pipeline.stages.inputs import Input, landing_inputs
from mnist_pipeline.stages.landing import BadFile, each_once, replay, take_in, take_stock
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.inputs import quarantined
from mnist_pipeline.store.objects import Store

Table = tuple[np.ndarray, np.ndarray]
HEADER = "label," + ",".join(f"pixel{k}" for k in range(784))


def lines(count: int, first: int = 0) -> str:
    return "".join(f"{k % 10}" + f",{first + k}" * 784 + "\n" for k in range(count))


def run_on(folder: Path, *landing: str, sources: tuple[str, ...] = ()) -> Run:
    data = {"landing": list(landing), "sources": list(sources)}
    return Run(Store.open(folder / "workspace"), resolve([{"data": data}]))


class GrowingPart(CsvPart):
    """A file to which somebody appends while it is read."""

    def read(self, contract: ImageContract) -> Iterator[Records]:
        yield from super().read(contract)
        with self.path.open("a") as file:
            file.write(lines(1, first=99))


def test_a_file_that_is_still_written_waits_for_tomorrow(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}\n{lines(30)}")
    run = run_on(tmp_path, f"csv:{path}")
    growing = Input("csv.v1", {"labelled": True}, GrowingPart(path), landing=True)
    bad = take_in(run, growing)
    assert isinstance(bad, BadFile)
    assert bad.error["headline"] == "a.csv changed while it was read"
    assert not list((tmp_path / "workspace").rglob("part.*"))
    assert list(quarantined(run.store)) == []  # nothing to be mended
    named = Input("csv.v1", {"labelled": True}, GrowingPart(path))
    with pytest.raises(DataError, match="changed while it was read"):
        take_in(run, named)
    (settled,) = take_stock(run)
    assert isinstance(settled, Input)
    part = take_in(run, settled)
    assert isinstance(part, Part)
    assert part.rows == 32


def test_an_empty_landing_is_no_error_but_a_wrong_one_is(tmp_path: Path, digits: Table) -> None:
    for spec in (f"csv:{tmp_path}/*.csv", f"parquet:{tmp_path}/none/*.parquet", f"idx:{tmp_path}"):
        assert landing_inputs([spec], None) == []
        with pytest.raises(DataError):
            take_stock(run_on(tmp_path, sources=(spec,)))
    for spec in ("cvs:landing", "csv:a,labeled=no", "landing/*.csv"):
        with pytest.raises(ConfigError):
            landing_inputs([spec], None)
    write_idx(tmp_path, "train", *digits)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="labels"):  # half a pair: nobody knows what it will be
        landing_inputs([f"idx:{tmp_path}"], None)


def test_a_file_nobody_may_read_is_tried_every_night(tmp_path: Path) -> None:
    missing = tmp_path / "link.csv"
    missing.symlink_to(tmp_path / "nowhere.txt")
    run = run_on(tmp_path, f"csv:{tmp_path}/*.csv")
    (source,) = take_stock(run)
    assert isinstance(source, Input)
    bad = take_in(run, source)
    assert isinstance(bad, BadFile)
    assert "link.csv does not exist" in bad.error["headline"]
    (tmp_path / "nowhere.txt").write_text(f"{HEADER}\n{lines(3)}")
    (source,) = take_stock(run)
    assert isinstance(source, Input)
    assert isinstance(take_in(run, source), Part)
    assert list(quarantined(run.store)) == []


def test_replay_leaves_the_rest_alone(tmp_path: Path) -> None:
    run = run_on(tmp_path, f"csv:{tmp_path}/*.csv")
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("rubbish\n")
    for source in take_stock(run):
        assert isinstance(source, Input)
        assert isinstance(take_in(run, source), BadFile)
    (tmp_path / "b.csv").write_text(f"{HEADER}\n{lines(3)}")
    again = Run(run.store, run.config, force="ingest")
    (entry,) = replay(again, [str(tmp_path / "b.csv")])
    assert (entry.file, entry.status) == ("b.csv", "taken")
    assert [Path(record.paths[0]).name for record in quarantined(run.store)] == ["a.csv"]
    with pytest.raises(ConfigError, match=r"'b\.csv' is not quarantined"):
        replay(again, ["b.csv"])


def part(name: str, rows: str, *, landing: bool, first_name: str = "") -> Part:
    from mnist_pipeline.refs import Ref

    data = Ref(f"parts/{rows}/part.parquet", rows, 1)
    return Part(
        rows, name, "train", 1, {}, [], data, None, landing=landing, first_name=first_name or name
    )


def test_landed_parts_come_in_the_order_of_their_bytes_named_ones_as_given() -> None:
    named = [part("z", "9", landing=False), part("a", "5", landing=False)]
    landed = [part("c", "7", landing=True), part("b", "3", landing=True)]
    parts, remarks = each_once([*named, *landed])
    assert [p.name for p in parts] == ["z", "a", "b", "c"]
    assert remarks == []


def test_of_copies_the_one_that_was_first_counts() -> None:
    copy = part("a-copy", "3", landing=True, first_name="yesterday")
    original = part("yesterday", "3", landing=True)
    named = part("base", "4", landing=False)
    landed_base = part("again", "4", landing=True)
    parts, remarks = each_once([named, copy, original, landed_base])
    assert [p.name for p in parts] == ["base", "yesterday"]
    assert remarks == [
        "duplicate_file: the rows of a-copy are those of yesterday: counted once",
        "duplicate_file: the rows of again are those of base: counted once",
    ]
