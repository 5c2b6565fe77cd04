"""A source of another package at work: whatever it does, it is told with its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import SETTING_WORDS
from strangers import SOURCE, Install, assert_told, run, spec

ERRORS = [
    ("sys.exit(0)", "SystemExit: 0"),
    ("raise BaseException('boom')", "BaseException: boom"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise StopIteration", "StopIteration"),
    ("raise MuteError", "MuteError: (its text cannot be had"),
    ("raise ValueError('half \\udcff')", "ValueError: half \\udcff"),
    ("raise RuntimeError('https://me:hunter2@host/')", "RuntimeError: https://…@host/"),
]


@pytest.fixture
def words(workspace: Path) -> list[str]:
    """The command line of a small training."""
    return ["train", "--engine", "plain", "--workspace", str(workspace), *SETTING_WORDS]


@pytest.mark.parametrize(("statement", "cause"), ERRORS)
def test_whatever_a_source_raises_while_it_reads_is_its_own(
    install: Install, capsys, words: list[str], statement: str, cause: str
) -> None:
    install("acme", {"other.v1": "Other", "thing.v1": "Thing"}, SOURCE)  # `other` comes first
    for command in (["validate"], [*words, "--source"]):
        found = run(capsys, *command, spec(does=statement))
        assert cause in assert_told(*found, "source")["facts"]["cause"]


def test_whatever_a_part_raises_when_it_is_asked_is_its_sources(
    install: Install, capsys, words: list[str]
) -> None:
    install("acme", {"thing.v1": "Thing"}, SOURCE)
    assert_told(*run(capsys, *words, "--source", spec(asked="sys.exit(0)")), "source")


def test_the_ending_of_a_run_names_the_plugin(
    install: Install, capsys, words: list[str], workspace: Path
) -> None:
    install("acme", {"thing.v1": "Thing"}, SOURCE)
    run(capsys, *words, "--source", spec(does="sys.exit(0)"))
    (ending,) = (workspace / "runs").glob("*/end.json")
    told = json.loads(ending.read_bytes())
    assert (told["status"], told["error"]["facts"]["package"]) == ("failed", "acme 1.5")


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        ("rows['rejects'] = None", "rejects is a NoneType"),
        ("rows['rejects'] = (Reject(**good | dict(reason=['x'])),)", "closed list"),
        ("rows['rejects'] = (Reject(**good | dict(place='three')),)", "'three', no int64"),
        ("rows['rejects'] = (Reject(**good | dict(place=2**70)),)", "no int64"),
        ("rows['rejects'] = (Reject(**good | dict(detail=None)),)", "not a text"),
        ("rows['rejects'] = (Reject(**good | dict(source=None)),)", "not a base name"),
        ("rows['rejects'] = (Reject(**good | dict(payload='text')),)", "not bytes"),
        ("rows['source'] = 'half \\udcff'", "not a base name"),
        ("rows['places'] = np.arange(n) - 1", "a place is -1"),
        ("yield Records(**rows); rows['labels'] = None", "of which labels is None"),
    ],
)
def test_blocks_that_are_no_records_are_told(
    install: Install, capsys, statement: str, flaw: str
) -> None:
    code = SOURCE.replace("exec(self.thing.given)", statement)
    install("acme", {"thing.v1": "Thing"}, code)
    error = assert_told(*run(capsys, "validate", "thing"), "source")
    assert "breaks its protocol: read yields rows" in error["headline"]
    assert flaw in error["headline"]


def test_a_source_without_labels_is_not_accepted_where_they_are_needed(
    install: Install, capsys, words: list[str]
) -> None:
    install("acme", {"thing.v1": "Thing"}, SOURCE.replace("np.arange(n) % 10", "None"))
    for command in (["validate"], [*words, "--source"]):
        code, told, _ = run(capsys, *command, "thing")
        assert code == 2
        assert "without labels" in told["error"]["headline"]
        assert "labelled=false" not in told["error"]["remedy"]  # it has no such option
    code, told, _ = run(capsys, "validate", "thing", "--unlabelled")
    assert (code, told["accepted"]) == (0, 400)
