"""A few nights on drawn digits: what every change of the code should not break."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from homes import Home
from poisons import POISONS

from mnist_pipeline.cli import main
from mnist_pipeline.store.overrides import accept, overrides
from mnist_pipeline.store.registry import Registry


@pytest.mark.parametrize(
    "kind",
    [
        "50 % of labels shuffled",
        "two classes swapped",
        "inverted images",
        "exam rows in training",
        "one class missing",
        "yesterday's file in another order",
        "yesterday's file again",
        "an empty file",
    ],
)
def test_a_poisoned_night(kind: str, home: Home) -> None:
    poison, before = POISONS[kind], home.champion
    poison.make(home.night)
    outcome = home.train().outcome
    assert (outcome.status, home.champion) == (poison.status, before), outcome.reasons
    assert [r for r in outcome.reasons if r.startswith(poison.codes) and poison.names in r]


def test_held_data_is_learned_from_once_somebody_has_accepted_it(home: Home) -> None:
    POISONS["two classes swapped"].make(home.night)
    images, labels = home.night.new
    home.night.land(255 - images[:300], labels[:300], "other.parquet")
    assert home.train().outcome.status == "held"
    accept(home.store, "digits", ["new.parquet"], "they are called so here")
    outcome = home.train().outcome
    assert outcome.status == "held"  # for the other file
    assert all("new.parquet" not in reason for reason in outcome.reasons)
    accept(home.store, "digits", [], "and this is a negative")
    assert home.train().outcome.version == 2
    assert [entry.value["reason"] for entry in overrides(home.store, "digits").history()] == [
        "they are called so here",
        "and this is a negative",
    ]
    POISONS["50 % of labels shuffled"].make(home.night)  # other bytes under the accepted name
    assert home.train().outcome.reasons[0].startswith("label_disagreement: in new.parquet")


def test_another_champion_is_asked_again(home: Home) -> None:
    POISONS["50 % of labels shuffled"].make(home.night)
    assert home.train().outcome.status == "held"
    assert home.train().outcome.status == "unchanged"
    registry = Registry(home.store)
    registry.promote("digits", 1, "by hand", after=registry.champion("digits"))
    assert home.train().outcome.status == "held"


def test_tuning_is_not_inspected(home: Home) -> None:
    POISONS["50 % of labels shuffled"].make(home.night)
    assert home.train("data.use_exam=false").outcome.reasons[0].startswith("no_exam")


def test_without_the_rules_nothing_but_the_exam_judges(home: Home) -> None:
    POISONS["50 % of labels shuffled"].make(home.night)
    assert home.train("gate.rules=['floors', 'mcnemar']").outcome.version == 2


def test_a_champion_that_cannot_be_asked_is_told_by_the_verdict(home: Home) -> None:
    home.night.land(*home.night.new)
    weights = home.folder / "workspace/models/digits/versions/1/model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    outcome = home.train().outcome
    assert (outcome.status, outcome.version) == ("held", 2)
    assert outcome.reasons[0].startswith("champion_unusable")


def test_the_page_of_a_held_run_shows_what_the_champion_objects_to(home: Home) -> None:
    POISONS["two classes swapped"].make(home.night)
    result = home.train()
    page = Path(result.report).read_text()
    assert "Held before training." in page
    assert "mnist-pipeline data accept --name digits" in page
    assert "9 → 4" in page or "4 → 9" in page
    assert page.count("data:image/png") > 10
    assert home.train().report == result.report


def test_from_the_command_line(home: Home, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(home.folder)
    words = ["train", "--engine", "plain", "--source", "parquet:base.parquet"]
    words += ["--landing", "parquet:landing/*.parquet", "--landing", "csv:landing/*.csv"]
    words += [word for setting in home.settings for word in ("--set", setting)]

    def answer(code: int, *command: str) -> dict:
        assert main([*command, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    assert answer(0, *words)["status"] == "unchanged"
    POISONS["two classes swapped"].make(home.night)
    POISONS["an empty file"].make(home.night)
    (home.night.landing / "gone.csv").touch()
    held = answer(4, *words, "--fail-on-hold")
    assert (held["status"], held["version"], held["metrics"]) == ("held", None, {})
    assert answer(4, *words, "--fail-on-hold")["status"] == "unchanged"
    assert main(words) == 0
    assert "to learn from it all the same: mnist-pipeline data accept --name digits" in (
        capsys.readouterr().out
    )

    (home.night.landing / "gone.csv").unlink()
    replayed = answer(0, "data", "replay")["files"]
    assert [(entry["file"], entry["status"]) for entry in replayed] == [
        ("gone.csv", "gone"),
        ("new.csv", "quarantined"),
    ]
    assert replayed[1]["reason"] == "new.csv is empty"
    (home.night.landing / "new.csv").write_text("label\n")
    assert answer(2, "data", "replay", "gone.csv")["error"]["remedy"] == ("did you mean 'new.csv'?")
    assert main(["data", "replay", "landing/new.csv"]) == 0
    assert "quarantined" in capsys.readouterr().out
    (home.night.landing / "new.csv").unlink()
    assert answer(0, "data", "replay", "new.csv")["files"][0]["status"] == "gone"
    assert main(["data", "replay"]) == 0
    assert "no file is quarantined" in capsys.readouterr().out

    assert answer(2, "data", "accept", "--reason", " ")["error"]
    assert answer(2, "data", "accept", "--name", "digits@1", "--reason", "x")["error"]
    assert answer(2, "data", "accept", "nww.parquet", "--reason", "x")["error"]["remedy"] == (
        "did you mean 'new.parquet'?"
    )
    accepted = answer(0, "data", "accept", "new.parquet", "--reason", "they are called so")
    assert accepted["accepted"] == ["new.parquet"]
    assert answer(0, *words)["version"] == 2
