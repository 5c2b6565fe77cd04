"""Whose something is: the process that made it, and whether that process is gone."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process: its host, its space of process numbers (a container has its own), its number."""

    host: str
    space: str
    pid: int

    @classmethod
    def this(cls) -> Owner:
        """The running process."""
        return cls(socket.gethostname(), _space(), os.getpid())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The inverse of `str`; None if the text is something else."""
        host, _, rest = text.partition("~")
        space, _, pid = rest.partition("~")
        return cls(host, space, int(pid)) if space and pid.isdecimal() else None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Owner:
        return cls(data["host"], data["space"], data["pid"])

    def __str__(self) -> str:
        return f"{self.host}~{self.space}~{self.pid}"

    @property
    def is_known(self) -> bool:
        """Whether this process can see if that one lives."""
        return (self.host, self.space) == (socket.gethostname(), _space()) != (self.host, "?")

    @property
    def is_alive(self) -> bool:
        """Whether that process is known to live."""
        return self.is_known and not self.is_gone

    @property
    def is_gone(self) -> bool:
        """Whether that process is known to be no more."""
        return self.is_known and not (_PROC / str(self.pid)).exists()


def _space() -> str:
    try:
        return (_PROC / "self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return "?"  # no /proc here: nothing is known of other processes
