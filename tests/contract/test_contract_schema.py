"""The schema check: right about every row, and never switched off in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pandera.polars as pa
import polars as pl
import pytest
from pandera.config import ValidationDepth, config_context

from mnist_pipeline.contract import schema
from mnist_pipeline.contract.schema import canaries, facts_schema, rejected_by_schema
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError

CONTRACT = ImageContract()
BAD_LABELS = [-5, -1, 10, 255, None]


def frame(labels: list[int | None], image_bytes: int = 784, place: int = 0) -> pl.DataFrame:
    count = len(labels)
    columns = {"label": labels, "image_bytes": [image_bytes] * count, "place": [place] * count}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64))


def test_exactly_the_bad_rows_are_rejected() -> None:
    labels = [0, 10, 5, None, -1, 9, -5]
    found = rejected_by_schema(frame(labels), CONTRACT).tolist()
    assert found == [False, True, False, True, True, False, True]


def test_size_and_place_are_judged_too() -> None:
    assert rejected_by_schema(frame([1, 2], image_bytes=783), CONTRACT).all()
    assert rejected_by_schema(frame([1, 2], image_bytes=785), CONTRACT).all()
    assert rejected_by_schema(frame([1, 2], place=-1), CONTRACT).all()
    assert not rejected_by_schema(frame([1, 2], place=10**12), CONTRACT).any()


def test_unlabelled_rows_are_judged_without_labels() -> None:
    facts = frame([1, 2]).drop("label")
    assert not rejected_by_schema(facts, CONTRACT).any()
    assert rejected_by_schema(frame([1], image_bytes=3).drop("label"), CONTRACT).all()


def test_the_contract_sets_the_limits() -> None:
    small = ImageContract(2, 2, ("a", "b", "c"))
    found = rejected_by_schema(frame([0, 2, 3], image_bytes=4), small)
    assert found.tolist() == [False, False, True]


def test_an_empty_frame_is_judged_by_its_canaries() -> None:
    assert rejected_by_schema(frame([]), CONTRACT).tolist() == []


@pytest.mark.parametrize("labelled", [True, False])
def test_every_canary_breaks_exactly_one_rule(labelled: bool) -> None:
    doomed = canaries(CONTRACT, labelled=labelled)
    assert len(doomed) == (5 if labelled else 2)
    for row in range(len(doomed)):
        with pytest.raises(pa.errors.SchemaErrors) as caught:
            facts_schema(CONTRACT, labelled=labelled).validate(doomed[row], lazy=True)
        assert len(caught.value.failure_cases) == 1


Schema = Callable[..., pa.DataFrameSchema]


def without(rule: str | None) -> Schema:
    """`facts_schema` with one rule missing, or with none left."""
    rules = {
        "image_bytes": pa.Column(pl.Int64, pa.Check.equal_to(784)),
        "place": pa.Column(pl.Int64, pa.Check.greater_than_or_equal_to(0)),
        "label": pa.Column(pl.Int64, pa.Check.in_range(0, 9), nullable=False),
    }
    weak = {
        "image_bytes": pa.Column(pl.Int64),
        "place": pa.Column(pl.Int64),
        "null": pa.Column(pl.Int64, pa.Check.in_range(0, 9), nullable=True),
        "low": pa.Column(pl.Int64, pa.Check.less_than_or_equal_to(9)),
        "high": pa.Column(pl.Int64, pa.Check.greater_than_or_equal_to(0)),
        "label": pa.Column(pl.Int64, nullable=True),
    }

    def made(contract: ImageContract, *, labelled: bool) -> pa.DataFrameSchema:
        columns = dict(rules)
        for name, column in weak.items():
            if rule in (name, None):
                columns["label" if name in ("null", "low", "high") else name] = column
        if not labelled:
            del columns["label"]
        return pa.DataFrameSchema(columns, strict=True)

    return made


@pytest.mark.parametrize("rule", ["image_bytes", "place", "null", "low", "high", "label", None])
@pytest.mark.parametrize("facts", [frame([1, 2]), frame([])], ids=["rows", "no rows"])
def test_a_weakened_schema_is_betrayed_by_a_canary(
    monkeypatch: pytest.MonkeyPatch, rule: str | None, facts: pl.DataFrame
) -> None:
    monkeypatch.setattr(schema, "facts_schema", without("nothing"))
    rejected_by_schema(facts, CONTRACT)  # the copy above is as good as the original
    monkeypatch.setattr(schema, "facts_schema", without(rule))
    with pytest.raises(IntegrityError, match="let a row pass") as caught:
        rejected_by_schema(facts, CONTRACT)
    assert caught.value.facts["canaries"] == 5
    assert caught.value.facts["passed"] == {None: 5, "label": 3}.get(rule, 1)


@pytest.mark.parametrize("rule", ["image_bytes", "place", None])
def test_a_weakened_schema_without_labels_too(
    monkeypatch: pytest.MonkeyPatch, rule: str | None
) -> None:
    monkeypatch.setattr(schema, "facts_schema", without(rule))
    with pytest.raises(IntegrityError, match="let a row pass"):
        rejected_by_schema(frame([1]).drop("label"), CONTRACT)


@pytest.mark.parametrize(
    "facts",
    [
        frame([1, 2]).with_columns(pl.col("image_bytes").cast(pl.Float64)),
        frame([1, 2]).with_columns(pl.col("label").cast(pl.Int32)),
    ],
    ids=["a float size", "a narrow label"],
)
def test_a_frame_of_another_type_is_never_accepted(facts: pl.DataFrame) -> None:
    with pytest.raises((IntegrityError, pl.exceptions.PolarsError)):
        rejected_by_schema(facts, CONTRACT)


def test_a_check_that_cannot_be_carried_out_accepts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong_type(contract: ImageContract, *, labelled: bool) -> pa.DataFrameSchema:
        columns = {name: pa.Column(pl.String) for name in ("label", "image_bytes", "place")}
        return pa.DataFrameSchema(columns, strict=True)

    monkeypatch.setattr(schema, "facts_schema", wrong_type)
    with pytest.raises(IntegrityError, match="could not be carried out"):
        rejected_by_schema(frame([1, 2]), CONTRACT)


@pytest.mark.parametrize("depth", [None, ValidationDepth.SCHEMA_ONLY])
def test_a_context_that_switches_checks_off_is_overruled(depth: ValidationDepth | None) -> None:
    with config_context(validation_enabled=depth is not None, validation_depth=depth):
        # It does switch them off: pandera by itself lets everything pass.
        facts_schema(CONTRACT, labelled=True).validate(frame(BAD_LABELS), lazy=True)
        assert rejected_by_schema(frame(BAD_LABELS), CONTRACT).all()
        facts_schema(CONTRACT, labelled=True).validate(frame(BAD_LABELS), lazy=True)


@pytest.mark.parametrize(
    "variable", ["PANDERA_VALIDATION_ENABLED=False", "PANDERA_VALIDATION_DEPTH=SCHEMA_ONLY"]
)
def test_an_environment_that_switches_checks_off_is_overruled(variable: str) -> None:
    program = """
import polars as pl
from mnist_pipeline.contract.schema import facts_schema, rejected_by_schema
from mnist_pipeline.contract.spec import ImageContract
contract, types = ImageContract(), dict.fromkeys(("label", "image_bytes", "place"), pl.Int64)
bad = pl.DataFrame({"label": [10, -1], "image_bytes": [784] * 2, "place": [0] * 2}, schema=types)
facts_schema(contract, labelled=True).validate(bad, lazy=True)
print("off:", rejected_by_schema(bad, contract).tolist())
"""
    name, _, value = variable.partition("=")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    # `off` is only reached if pandera by itself lets the bad rows pass.
    assert done.stdout == "off: [True, True]\n", done.stderr
