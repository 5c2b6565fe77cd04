"""Errors: one exit code a class, words for a person, an object for `--json`."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_pipeline.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    OutsideError,
    PipelineError,
    TrainingError,
    did_you_mean,
    nearest,
    shortened,
)
from mnist_pipeline.store.objects import ObjectMissingError

steady = settings(deadline=None, derandomize=True, database=None)


CODES = {
    PipelineError: 1,
    ConfigError: 2,
    DataError: 3,
    TrainingError: 4,
    IntegrityError: 5,
    ObjectMissingError: 5,
    OutsideError: 6,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_class_has_the_exit_code_of_the_manual(kind: type[PipelineError], code: int) -> None:
    assert kind("x").exit_code == code
    assert kind("x").to_json()["code"] == code


def test_message_names_what_where_and_what_to_do() -> None:
    error = DataError("a row is bad", file="a.csv", line=3, found=None, remedy="mend it")
    assert str(error) == "a row is bad\n  file: a.csv\n  line: 3\n  → mend it"
    assert str(DataError("alone")) == "alone"


def test_json_holds_the_facts_but_not_those_that_are_none() -> None:
    error = IntegrityError("h", key="k", rows=0, cause=None, remedy="r")
    assert json.loads(json.dumps(error.to_json())) == {
        "code": 5,
        "kind": "integrity",
        "headline": "h",
        "facts": {"key": "k", "rows": 0},
        "remedy": "r",
    }


@pytest.mark.parametrize("kind", CODES)
def test_an_error_survives_the_way_between_processes(kind: type[PipelineError]) -> None:
    error = kind("h", remedy="r", file="a.csv", places=[1, 2])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.to_json() == error.to_json()
    assert str(again) == str(error)


@pytest.mark.parametrize("transient", [True, False])
def test_whether_a_retry_may_help_survives_too(transient: bool) -> None:
    error = OutsideError("h", transient=transient, host="x")
    again = pickle.loads(pickle.dumps(error))
    assert again.transient is transient
    assert again.facts == {"host": "x"}  # it is no fact: nobody is to read it


def test_an_outside_error_is_not_retried_unless_it_says_so() -> None:
    assert OutsideError("h").transient is False


def test_nearest_puts_the_most_alike_first() -> None:
    assert nearest("lerning_rate", ["seed", "learning_rate", "l2"]) == ["learning_rate"]
    assert nearest("zzz", ["b", "a", "a"]) == ["a", "b"]
    assert nearest("x", []) == []


def test_did_you_mean_names_a_near_name_or_all_of_them() -> None:
    assert did_you_mean("mpl", ["mlp", "softmax"]) == "did you mean 'mlp'?"
    assert did_you_mean("zzz", ["b", "a"]) == "valid names are 'a', 'b'"
    assert did_you_mean("zzz", []) == "there are none to choose from"
    many = did_you_mean("zzz", map(str, range(785)))
    assert many.endswith(" and 773 more")
    assert len(many) < 150


def test_a_foreign_text_is_shown_in_part_and_as_text() -> None:
    assert shortened("label") == "label"
    assert shortened("x" * 10**6) == "x" * 60 + "…"
    assert shortened("a\nb\x1b[2J") == "a\ufffdb\ufffd[2J"


@steady
@given(word=st.text(max_size=8), valid=st.lists(st.text(min_size=1, max_size=8), max_size=6))
def test_nearest_names_are_valid_names(word: str, valid: list[str]) -> None:
    found = nearest(word, valid)
    assert set(found) <= set(valid)
    assert len(found) == len(set(found)) <= 3
    assert bool(found) == bool(valid)
    assert isinstance(did_you_mean(word, valid), str)
