"""Every mistake this program can explain: one class tree, one exit code a class.

An error is written for the person who has to act on it: a headline (what happened), facts (where:
file, line, key, value) and a remedy (what to do now). Anything that is not a `PipelineError` is a
bug in this program.
"""

from __future__ import annotations

import copy
import difflib
import errno
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

MOST_NAMES = 12
"""Valid names that a remedy lists."""


class PipelineError(Exception):
    """Base of all explained errors.

    Args:
        headline: one sentence, what happened.
        remedy: one sentence, what to do about it.
        facts: where and what exactly, JSON-able, in reading order.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "bug"

    def __init__(self, headline: str, *, remedy: str = "", **facts: Any) -> None:
        super().__init__(headline)
        self.headline = headline
        self.remedy = remedy
        self.facts: dict[str, Any] = {k: v for k, v in facts.items() if v is not None}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.headline, self.remedy, self.facts)

    def __str__(self) -> str:
        lines = [self.headline]
        lines += [f"  {name}: {value}" for name, value in self.facts.items()]
        if self.remedy:
            lines.append(f"  → {self.remedy}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The `error` object of `--json`; `code` is the exit code."""
        return {
            "code": self.exit_code,
            "kind": self.kind,
            "headline": self.headline,
            "facts": self.facts,
            "remedy": self.remedy,
        }


def _rebuild(
    cls: type[PipelineError], headline: str, remedy: str, facts: Mapping[str, Any]
) -> PipelineError:
    return cls(headline, remedy=remedy, **facts)


class ConfigError(PipelineError):
    """Usage or configuration: an unknown key, a value out of range, a name nobody has."""

    exit_code = 2
    kind = "config"


class NotExportableError(ConfigError):
    """A version with a part that the wanted format cannot say."""

    kind = "not_exportable"


class DataError(PipelineError):
    """Data broke its contract beyond the budget, or an input could not be read."""

    exit_code = 3
    kind = "data"


class TrainingError(PipelineError):
    """A training that cannot give a model: divergence, NaN, a deadline that passed."""

    exit_code = 4
    kind = "training"


class IntegrityError(PipelineError):
    """An artifact failed its digest or golden batch; a reproduction differs."""

    exit_code = 5
    kind = "integrity"


class OutsideError(PipelineError):
    """Something outside is missing: a server, the network, a disk, credentials, an extra.

    `transient` says whether the same call may go through later; only such errors are retried.
    """

    exit_code = 6
    kind = "outside"

    def __init__(
        self, headline: str, *, remedy: str = "", transient: bool = False, **facts: Any
    ) -> None:
        super().__init__(headline, remedy=remedy, **facts)
        self.transient = transient

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {"transient": self.transient, **self.facts}
        return _rebuild, (type(self), self.headline, self.remedy, facts)


def explained(error: BaseException) -> PipelineError:
    """Any exception in this program's words, as far as they go."""
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, MemoryError):
        return OutsideError(
            "there is not enough memory for this", remedy="a smaller model or batch needs less"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return OutsideError("there is no space left to write to", remedy="free some disk space")
    return PipelineError(
        told(error),
        remedy="nobody expected this; the log of the run says where it happened",
    )


def told(error: BaseException) -> str:
    """`ValueError: …`, as text that can be kept; a stranger's error may hold anything."""
    try:
        said = str(error)
    except Exception as fault:  # asked for its text, it raises in its turn
        said = f"(its text cannot be had: {type(fault).__name__})"
    return str(without_secrets(storable(f"{type(error).__name__}: {said}")))


def storable(text: str) -> str:
    """A text with what UTF-8 cannot say (half a surrogate pair) spelled out, as JSON spells it."""
    return text.encode("utf-8", "backslashreplace").decode()


_SECRETS = (
    # https://user:password@host, https://token@host; not abfs://container@account
    (re.compile(r"(?i)(https?://|//[^/@\s:]*:)[^/@\s]+@"), r"\1…@"),
    # a query may hold a signature that opens the bucket, or the door, to whoever reads it
    (re.compile(r"(?i)([?&][\w-]*(?:signature|sig|token|secret|password|key)=)[^&\s]+"), r"\1…"),
)


def without_secrets(value: Any) -> Any:
    """A text of somebody else's, or anything JSON-able, without passwords and keys in URLs."""
    if isinstance(value, Mapping):
        return {name: without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    if isinstance(value, str):
        for pattern, instead in _SECRETS:
            value = pattern.sub(instead, value)
    return value


def discreet(error: PipelineError) -> PipelineError:
    """The same error, in whose words and facts are no passwords and keys of URLs."""
    same = copy.copy(error)
    same.headline = without_secrets(error.headline)
    same.remedy = without_secrets(error.remedy)
    same.facts = without_secrets(error.facts)
    return same


def shortened(text: object, most: int = 60) -> str:
    """What an error shows of a text that came with the data: it may be a megabyte of anything."""
    whole = str(text)
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in whole[:most])
    return shown if len(whole) <= most else shown + "…"


def nearest(word: str, valid: Iterable[str], *, most: int = 3) -> list[str]:
    """The valid names most like `word`, best first; the first ones if none is like it."""
    names = sorted(set(valid))
    return difflib.get_close_matches(word, names, n=most, cutoff=0.5) or names[:most]


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest valid ones."""
    names = sorted(set(valid))
    if not names:
        return "there are none to choose from"
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"valid names are {', '.join(repr(name) for name in names[:MOST_NAMES])}{more}"
