"""What a scoring is asked for: every option of `mnist-pipeline score`, checked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

from mnist_pipeline.errors import ConfigError, did_you_mean

OnBadRow = Literal["null", "quarantine", "fail"]
OnBadFile = Literal["fail", "continue", "skip"]

ANSWERS = (
    "row_id",
    "label",
    "confidence",
    "status",
    "reason",
    "top_labels",
    "top_confidences",
    "probabilities",
)
"""The names of the columns that scoring adds."""


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """How rows are read and what is written of them.

    Attributes:
        image_column: the column of images; None for the only one that can hold them.
        id_column: a column carried under its own name.
        keep: further columns carried, as (name in the input, name in the output).
        scale: what float pixels are multiplied by to lie in 0 … 255.
        top_k: that many most probable classes are written with their probabilities; 0 for none.
        probabilities: whether all probabilities are written.
        min_confidence: below it a row is answered with no label, `low_confidence`.
        on_bad_row: `null`: a row without answer; `quarantine`: and its payload kept; `fail`: the
            file fails.
        max_drift: the drift above which a scoring counts as failed; None for any.
        on_bad_file: `fail`: stop; `continue`: score the rest, exit with 3; `skip`: exit with 0.

    Raises:
        ConfigError: a value is out of range, or two columns would have one name.
    """

    image_column: str | None = None
    id_column: str | None = None
    keep: tuple[tuple[str, str], ...] = ()
    scale: float | None = None
    top_k: int = 0
    probabilities: bool = False
    min_confidence: float = 0.0
    max_drift: float | None = None
    on_bad_row: OnBadRow = "null"
    on_bad_file: OnBadFile = "continue"

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise _out_of_range("--min-confidence", self.min_confidence, "a share from 0 to 1")
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise _out_of_range("--scale", self.scale, "a positive number: 255 if 1.0 is full ink")
        if self.max_drift is not None and not 0 <= self.max_drift <= 1:
            raise _out_of_range("--max-drift", self.max_drift, "a distance from 0 to 1")
        if self.top_k < 0:
            raise _out_of_range("--top-k", self.top_k, "a number of classes, or 0 for none")
        for flag, value, choices in (
            ("--on-bad-row", self.on_bad_row, get_args(OnBadRow)),
            ("--on-bad-file", self.on_bad_file, get_args(OnBadFile)),
        ):
            if value not in choices:
                raise ConfigError(
                    f"{flag} cannot be {value!r}", remedy=did_you_mean(str(value), choices)
                )
        names = [name for _, name in self.carried]
        for name in names:
            if name in ANSWERS or names.count(name) > 1:
                other = "an answer" if name in ANSWERS else "another column"
                raise ConfigError(
                    f"the column {name!r} would have the name of {other} in the output",
                    remedy=f"carry it under another name: --keep {name}=input_{name}",
                )

    @property
    def carried(self) -> tuple[tuple[str, str], ...]:
        """The columns carried from the input: (name there, name in the output)."""
        own = ((self.id_column, self.id_column),) if self.id_column else ()
        return own + self.keep

    def to_json(self) -> dict[str, Any]:
        """What decides the content of an output: not what else happens to bad rows and files."""
        options = dataclasses.asdict(self)
        del options["on_bad_row"], options["on_bad_file"], options["max_drift"]
        return options | {"keep": [list(pair) for pair in self.keep]}


def parse_keep(text: str) -> tuple[tuple[str, str], ...]:
    """`id,label=truth` as columns to carry, the second one under another name.

    Raises:
        ConfigError: a name is empty.
    """
    pairs = []
    for word in text.split(",") if text else []:
        name, _, renamed = word.strip().partition("=")
        if not name or word.strip().endswith("="):
            raise ConfigError(
                f"--keep {text!r} does not name columns",
                remedy="for example: --keep id,label=truth",
            )
        pairs.append((name, renamed or name))
    return tuple(pairs)


def _out_of_range(flag: str, value: object, expected: str) -> ConfigError:
    return ConfigError(
        f"{flag} cannot be {value}", expected=expected, remedy=f"give {flag} such a value"
    )
