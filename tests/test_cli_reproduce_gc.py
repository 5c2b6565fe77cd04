"""`mnist-pipeline reproduce` and `mnist-pipeline gc`: words, JSON, exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from small import train_words

from mnist_pipeline.cli import main

KINDS = ["memos", "checkpoints", "runs", "quarantine"]
KINDS += ["datasets", "parts", "exams", "claims", "temporary"]


@pytest.fixture
def trained(idx_folder: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A workspace with digits@1."""
    assert main(train_words(idx_folder, workspace)) == 0
    capsys.readouterr()
    return workspace


@pytest.fixture
def say(workspace: Path, capsys: pytest.CaptureFixture[str]):
    """Runs a command: its exit code, and what it says on stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--workspace", str(workspace)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def make_older(workspace: Path, hours: float) -> None:
    for path in workspace.rglob("*"):
        then = path.lstat().st_mtime - 3600 * hours
        os.utime(path, (then, then))


def test_reproduce_says_that_it_is_identical(trained: Path, say) -> None:
    code, out, err = say("reproduce", "digits@1")
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[:2] for line in lines[1:6]] == [
        [stage, "identical"] for stage in ("ingest", "validate", "normalize", "train", "evaluate")
    ]
    assert lines[6] == ["digits@1: identical"]
    assert not re.search(r"[0-9a-f]{13}", out)  # digests by their first digits
    assert [line.split()[0] for line in err.splitlines()] == [line[0] for line in lines[1:6]]


def test_reproduce_answers_the_documented_object(trained: Path, say) -> None:
    code, out, err = say("reproduce", "digits@champion", "--json", "--quiet")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert (answer["model"], answer["version"]) == ("digits", 1)
    assert answer["identical"] is True
    assert answer["cause"] is None
    assert "error" not in answer
    for stage in answer["stages"]:
        assert set(stage) == {"name", "status", "expected", "found"}
        assert stage["expected"] == stage["found"] != {}


def test_reproduce_tells_what_differs(trained: Path, say) -> None:
    part = next(trained.glob("parts/*/part.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    code, out, err = say("reproduce", "digits@1", "--json")
    answer = json.loads(out)
    assert code == answer["error"]["code"] == 5
    assert (answer["identical"], answer["cause"]) == (False, "data")
    assert answer["error"]["facts"]["stage"] == "ingest"
    code, out, err = say("reproduce", "digits@1", "--quiet")
    assert code == 5
    assert out.splitlines()[1].startswith("ingest\tdiffers\tparts/")
    assert "ubyte of digits@1 is not what it was" in err
    assert "→ its source is as it was" in err


def test_reproduce_tells_what_is_gone(trained: Path, say) -> None:
    shutil.rmtree(trained / "parts")
    code, out, _ = say("reproduce", "digits@1", "--json", "--quiet")
    answer = json.loads(out)
    assert code == answer["error"]["code"] == 3
    assert answer["stages"][0]["status"] == "missing"
    assert set(answer["stages"][0]["found"].values()) == {None}
    code, out, _ = say("reproduce", "digits@1", "--from-sources", "--json", "--quiet")
    assert code == 0
    assert json.loads(out)["identical"] is True


@pytest.mark.parametrize("reference", ["digits@2", "letters", "Digits@@"])
def test_reproduce_knows_no_such_version(reference: str, trained: Path, say) -> None:
    code, out, _ = say("reproduce", reference, "--json")
    assert code == json.loads(out)["error"]["code"] == 2


@pytest.mark.parametrize("command", [["reproduce", "digits@1"], ["gc"], ["gc", "--dry-run"]])
def test_a_workspace_that_is_not_there_is_not_made(
    command: list[str], workspace: Path, say
) -> None:
    code, out, _ = say(*command, "--json")
    assert code == json.loads(out)["error"]["code"] == 6
    assert not workspace.exists()


def test_gc_has_nothing_to_do(trained: Path, say) -> None:
    assert say("gc") == (0, f"nothing to remove in {trained}\n", "")


def test_gc_answers_the_documented_object(trained: Path, say) -> None:
    (trained / "parts" / "orphan").mkdir()
    (trained / "parts" / "orphan" / "part.parquet").write_bytes(b"12345")
    make_older(trained, 30)
    before = sorted(trained.rglob("*"))
    code, out, err = say("gc", "--dry-run", "--json")
    looked = json.loads(out)
    assert (code, err) == (0, "")
    assert (looked["dry_run"], looked["grace_seconds"], looked["keep_runs"]) == (True, 86_400, 30)
    assert list(looked["removed"]) == KINDS
    assert looked["removed"]["parts"] == {"count": 1, "bytes": 5, "names": ["orphan"]}
    assert (looked["count"], looked["bytes"]) == (1, 5)
    assert sorted(trained.rglob("*")) == before
    code, out, _ = say("gc", "--json")
    removed = json.loads(out)
    assert removed["dry_run"] is False
    assert removed["removed"] == looked["removed"]
    assert not (trained / "parts" / "orphan").exists()
    assert json.loads(say("gc", "--json")[1])["count"] == 0
    assert say("models", "verify")[0] == 0


def test_gc_for_people(trained: Path, say) -> None:
    (trained / "parts" / "orphan").mkdir()
    (trained / "parts" / "orphan" / "part.parquet").write_bytes(b"x" * 123_456)
    make_older(trained, 30)
    code, out, err = say("gc", "--dry-run")
    assert (code, err) == (0, "")
    assert [line.split("\t") for line in out.splitlines()] == [
        ["would be removed", "count", "size"],
        ["parts of no data set", "1", "123.5 kB"],
        ["all", "1", "123.5 kB"],
    ]
    assert say("gc")[1].splitlines()[0] == "removed\tcount\tsize"


def test_gc_says_what_it_cannot_know(trained: Path, say) -> None:
    next(trained.glob("datasets/*.json")).unlink()
    code, out, _ = say("gc")
    assert code == 0
    assert "restore it from a backup" in out


def test_gc_stops_at_a_damaged_manifest(trained: Path, say) -> None:
    (trained / "models/digits/versions/1/manifest.json").write_text("{")
    code, out, _ = say("gc", "--json")
    assert code == json.loads(out)["error"]["code"] == 5


@pytest.mark.parametrize(
    ("grace", "seconds"),
    [("90s", 90), ("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600), ("0", 0)],
)
def test_gc_understands_durations(grace: str, seconds: int, trained: Path, say) -> None:
    code, out, _ = say("gc", "--dry-run", "--grace", grace, "--json")
    assert code == 0
    assert json.loads(out)["grace_seconds"] == seconds


@pytest.mark.parametrize(
    "words", [["--grace", "x"], ["--grace", "24"], ["--grace", "-1h"], ["--grace", "1.5h"],
              ["--grace", "9999999d"], ["--keep-runs", "-1"], ["--keep-runs", "many"], ["digits"]],
)  # fmt: skip
def test_gc_refuses_what_it_does_not_understand(words: list[str], trained: Path, say) -> None:
    code, out, _ = say("gc", *words, "--json")
    assert code == json.loads(out)["error"]["code"] == 2


@pytest.mark.parametrize("command", ["gc", "reproduce"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"mnist-pipeline {command}" in text
    assert max(map(len, text.splitlines())) <= 100
