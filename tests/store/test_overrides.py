"""Overrides: only what holds the last run can be accepted, and who and why are kept."""

from __future__ import annotations

import getpass
import socket

import pytest

from mnist_pipeline.errors import ConfigError
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.overrides import accept, accepted_parts, overrides
from mnist_pipeline.store.registry import Registry

PARTS = [{"name": "a.csv", "digest": "1"}, {"name": "b.csv", "digest": "2"}]


def held(store: Store, **more: object) -> None:
    run = {"run": "r", "run_key": "k", "status": "held", "version": None, "reasons": ["drift: far"]}
    Registry(store).record_run("digits", {**run, **more})


def test_who_and_why_are_kept(store: Store) -> None:
    held(store, new_parts=PARTS)
    value = accept(store, "digits", ["b.csv"], "looked at it").value
    assert value["parts"] == PARTS[1:]
    assert value["reason"] == "looked at it"
    assert value["by"] == f"{getpass.getuser()}@{socket.gethostname()}"
    assert value["against"] == ["drift: far"]
    assert value["run"] == "r"
    accept(store, "digits", [], "all of it")
    history = overrides(store, "digits").history()
    assert [len(entry.value["parts"]) for entry in history] == [1, 2]
    assert accepted_parts(history) == {"1", "2"}
    assert accepted_parts(history[:1]) == {"2"}


def test_only_what_holds_the_last_run_can_be_accepted(store: Store) -> None:
    with pytest.raises(ConfigError, match="last run of 'digits' was not held"):
        accept(store, "digits", [], "why not")
    held(store, new_parts=PARTS)
    with pytest.raises(ConfigError, match=r"'c\.csv' is not among") as caught:
        accept(store, "digits", ["a.csv", "c.csv"], "why not")
    assert "'a.csv'" in caught.value.remedy
    held(store)  # a later run that was held for something else
    with pytest.raises(ConfigError, match="was not held for its data"):
        accept(store, "digits", [], "why not")
    assert overrides(store, "digits").latest() is None
