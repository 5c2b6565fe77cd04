"""Owners: who is this process, and which of the others are known to be gone."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_pipeline.store import owner
from mnist_pipeline.store.owner import Owner


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system on which other processes cannot be seen."""
    monkeypatch.setattr(owner, "_PROC", tmp_path / "no-proc")


def test_this_process_is_known_and_alive() -> None:
    this = Owner.this()
    assert (this.host, this.pid) == (socket.gethostname(), os.getpid())
    assert this.space.isdecimal()
    assert this.is_known
    assert not this.is_gone
    assert Owner.this() == this


@pytest.mark.parametrize(
    "one", [Owner("a-host.example.org", "4026531836", 7), Owner("x", "?", 0), Owner("", "1", 12345)]
)
def test_an_owner_reads_back(one: Owner) -> None:
    assert Owner.parse(str(one)) == one
    assert Owner.from_json(json.loads(json.dumps(dataclasses.asdict(one)))) == one


@pytest.mark.parametrize(
    "text",
    ["", "~", "~~", "host", "host~1", "host~1~", "host~~7", "host~1~x", "host~1~-7", "host~1~7~8",
     "host.7", "somebody's folder"],
)  # fmt: skip
def test_what_is_no_owner_is_none(text: str) -> None:
    assert Owner.parse(text) is None


def test_a_dead_process_is_gone_and_a_living_one_is_not(dead_pid: int) -> None:
    this = Owner.this()
    dead = dataclasses.replace(this, pid=dead_pid)
    assert dead.is_known
    assert dead.is_gone
    assert not dataclasses.replace(this, pid=os.getppid()).is_gone


@pytest.mark.parametrize(
    "elsewhere", [{"host": "another-host"}, {"space": "1"}, {"space": "?"}, {"host": ""}]
)
def test_nothing_is_known_of_another_host_or_space(elsewhere: dict, dead_pid: int) -> None:
    other = dataclasses.replace(Owner.this(), pid=dead_pid, **elsewhere)
    assert not other.is_known
    assert not other.is_gone


@pytest.mark.usefixtures("no_proc")
def test_without_proc_nobody_is_known_not_even_oneself(dead_pid: int) -> None:
    this = Owner.this()
    assert this.space == "?"
    assert not this.is_known
    dead = dataclasses.replace(this, pid=dead_pid)
    assert not dead.is_known
    assert not dead.is_gone
    assert Owner.parse(str(this)) == this


def test_a_container_has_numbers_of_its_own() -> None:
    program = "from mnist_pipeline.store.owner import Owner; print(Owner.this())"
    inside = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    try:
        done = subprocess.run(inside, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a space of process numbers can only be made by root, with the right to")
    other = Owner.parse(done.stdout.strip())
    assert other is not None
    assert (other.host, other.pid) == (socket.gethostname(), 1)
    assert other.space != Owner.this().space
    assert not other.is_known  # number 1 is somebody else here
    assert not other.is_gone
