"""What is known is not read again; what is bad is left out, and taken again once it is mended."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from homes import Home
from poisons import POISONS

from mnist_pipeline.cli import main
from mnist_pipeline.errors import DataError, IntegrityError


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_quiet_night_repeats_the_verdict_and_reads_no_file(home: Home) -> None:
    first = home.train().outcome  # `settle` was the first; this one is quiet already
    aged(home)
    home.train()
    before = files_below(home.folder / "workspace" / "models")
    unread(home.night.landing / "yesterday.parquet")
    result = home.train()
    assert result.outcome == first
    assert (first.status, first.version, first.exit_code) == ("unchanged", 1, 0)
    assert set(result.seconds) == {"ingest", "validate"}
    assert files_below(home.folder / "workspace" / "models") == before


def aged(home: Home) -> None:
    """Makes the files an hour older: a file that has just been written may still be changing."""
    for path in (home.folder / "base.parquet", *home.night.landing.iterdir()):
        an_hour_ago = time.time() - 3600
        os.utime(path, (an_hour_ago, an_hour_ago))


def unread(path: Path) -> None:
    """Spoils a file so that only who reads it can know: as many other bytes, with the same time."""
    stat = path.stat()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_verify_reads_what_seems_unchanged(home: Home) -> None:
    home.train()
    aged(home)
    home.train()
    unread(home.night.landing / "yesterday.parquet")
    assert home.train().outcome.status == "unchanged"
    result = home.train(verify=True)
    (bad,) = result.dataset["bad_files"]
    assert bad["file"] == "yesterday.parquet"


def test_a_named_file_that_seems_unchanged_is_not_read_either(home: Home) -> None:
    home.train()
    aged(home)
    home.train()
    unread(home.folder / "base.parquet")
    assert home.train().outcome.status == "unchanged"
    with pytest.raises(DataError, match=r"base\.parquet"):
        home.train(verify=True)


def test_a_damaged_part_is_noticed_by_its_time_and_made_anew(home: Home) -> None:
    aged(home)
    first = home.train()
    for part in (home.folder / "workspace" / "parts").rglob("part.parquet"):
        part.write_bytes(bytes(part.stat().st_size))
    assert home.train().outcome.reasons == first.outcome.reasons


def test_a_part_that_rots_unseen_is_told_and_verify_makes_it_anew(home: Home) -> None:
    aged(home)
    first = home.train()
    for part in (home.folder / "workspace" / "parts").rglob("part.parquet"):
        unread(part)
    with pytest.raises(IntegrityError, match="damaged") as caught:
        home.train()
    assert "train --verify" in caught.value.remedy
    assert home.train(verify=True).outcome.reasons == first.outcome.reasons
    assert home.train().outcome.reasons == first.outcome.reasons


def test_what_files_are_called_is_no_news(home: Home) -> None:
    before = home.train()
    yesterday = home.night.landing / "yesterday.parquet"
    yesterday.rename(yesterday.with_name("renamed.parquet"))
    home.night.land(*home.night.yesterday, name="a-copy.parquet")
    (home.night.landing / "a-copy.parquet").write_bytes(
        (home.night.landing / "renamed.parquet").read_bytes()
    )
    after = home.train()
    assert after.outcome.status == "unchanged"
    assert after.dataset["digest"] == before.dataset["digest"]
    assert after.outcome.reasons[-1] == (
        "duplicate_file: the rows of renamed.parquet are those of a-copy.parquet: counted once"
    )


def test_a_file_that_changed_under_its_name_is_said(home: Home) -> None:
    images, labels = home.night.new
    home.night.land(images[:300], labels[:300])
    assert home.train().outcome.version == 2
    home.night.land(images, labels)
    outcome = home.train().outcome
    assert outcome.version == 3
    assert "file_changed: the file new.parquet holds something else than it did before" in (
        outcome.reasons
    )


def test_a_repaired_file_is_taken_by_itself(home: Home) -> None:
    POISONS["a truncated file"].make(home.night)
    assert home.train().outcome.reasons[-1].startswith("bad_file: without new.parquet: ")
    assert home.train().dataset["bad_files"][0]["file"] == "new.parquet"
    home.night.land(*home.night.new)
    result = home.train()
    assert result.dataset["bad_files"] == []
    assert result.outcome.version == 2


def test_bad_files_are_known_since_they_were_found_and_not_read_again(home: Home) -> None:
    POISONS["a truncated file"].make(home.night)
    aged(home)
    (found,) = home.train().dataset["bad_files"]
    unread(home.night.landing / "new.parquet")
    time.sleep(1.1)
    assert home.train().dataset["bad_files"] == [found]


def test_too_many_bad_files_are_too_many(home: Home) -> None:
    before = home.champion
    for k in range(3):
        (home.night.landing / f"{k}.csv").touch()
    assert home.train("data.max_bad_files=3").outcome.status == "unchanged"
    with pytest.raises(
        DataError, match="3 files of the landing are bad, more than the 2"
    ) as caught:
        home.train("data.max_bad_files=2")
    assert caught.value.facts["first"][0] == "0.csv: 0.csv is empty"
    assert home.champion == before


def test_a_budget_that_was_raised_takes_the_file_without_reading_it(home: Home) -> None:
    POISONS["many bad rows"].make(home.night)
    aged(home)
    (bad,) = home.train().dataset["bad_files"]
    assert bad["file"] == "new.csv"
    assert bad["facts"]["rejected"] == {"wrong_column_count": 30}
    unread(home.night.landing / "new.csv")
    result = home.train("data.max_reject_fraction=0.06")
    assert result.dataset["bad_files"] == []
    assert result.dataset["rejected"] == {"wrong_column_count": 30}


def test_nothing_has_landed_ever(home: Home) -> None:
    (home.night.landing / "yesterday.parquet").unlink()
    assert home.train().outcome.version == 2  # less data is other data
    home.night.landing.rmdir()
    assert home.train().outcome.status == "unchanged"
    with pytest.raises(DataError, match="leads to no file"):
        home.train(sources=[f"csv:{home.folder}/none-*.csv"])


def test_replay_takes_a_mended_file_into_the_next_night(home: Home, monkeypatch, capsys) -> None:
    monkeypatch.chdir(home.folder)
    POISONS["a truncated gzip file"].make(home.night)
    POISONS["many bad rows"].make(home.night)
    home.train()
    (home.night.landing / "new.csv.gz").unlink()
    home.night.land(*home.night.new, name="mended.parquet")
    (home.night.landing / "mended.parquet").rename(home.night.landing / "new.csv.gz")
    words = ["data", "replay", "--json", "--set", "data.max_reject_fraction=0.06"]
    assert main(words) == 0
    statuses = {e["file"]: e["status"] for e in json.loads(capsys.readouterr().out)["files"]}
    assert statuses == {"new.csv": "taken", "new.csv.gz": "quarantined"}  # Parquet is no CSV
    # To look at files again is no night, least of all one that has not ended.
    assert main(["status", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert runs
    assert "not ended" not in {run["status"] for run in runs}
