"""The contract as a pandera schema over the facts frame, and the proof that it is alive.

This is the only file that imports pandera. Canary rows that break each rule once ride along in
every frame: if one of them passes, the check itself is broken (a version that changed its meaning,
an environment that switched it off) and nothing is accepted.
"""

from __future__ import annotations

import functools

import numpy as np
import pandera.polars as pa
import polars as pl
from numpy.typing import NDArray
from pandera.config import ValidationDepth, config_context

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import IntegrityError


@functools.cache
def facts_schema(contract: ImageContract, *, labelled: bool) -> pa.DataFrameSchema:
    """The rules of the contract for a frame made by `facts_frame`."""
    columns = {
        "image_bytes": pa.Column(pl.Int64, pa.Check.equal_to(contract.pixels)),
        "place": pa.Column(pl.Int64, pa.Check.greater_than_or_equal_to(0)),
    }
    if labelled:
        highest = len(contract.classes) - 1
        columns["label"] = pa.Column(pl.Int64, pa.Check.in_range(0, highest), nullable=False)
    return pa.DataFrameSchema(columns, strict=True, name="facts")


def canaries(contract: ImageContract, *, labelled: bool) -> pl.DataFrame:
    """Rows that must be rejected, one for each rule."""
    classes, pixels = len(contract.classes), contract.pixels
    rows: list[tuple[int | None, int, int]] = [(0, pixels - 1, 0), (0, pixels, -1)]
    if labelled:
        rows += [(classes, pixels, 0), (-1, pixels, 0), (None, pixels, 0)]
    frame = pl.DataFrame(
        rows,
        schema={"label": pl.Int64, "image_bytes": pl.Int64, "place": pl.Int64},
        orient="row",
    )
    return frame if labelled else frame.drop("label")


def rejected_by_schema(facts: pl.DataFrame, contract: ImageContract) -> NDArray[np.bool_]:
    """Which rows of `facts` pandera rejects, as (N,) bool.

    Raises:
        IntegrityError: a canary passed; pandera's word is worth nothing then.
    """
    labelled = "label" in facts.columns
    doomed = canaries(contract, labelled=labelled)
    frame = pl.concat([facts, doomed.select(facts.columns)])
    rejected = np.zeros(len(frame), np.bool_)
    # The depth is pinned here: from the environment it could be switched off.
    depth = ValidationDepth.SCHEMA_AND_DATA
    with config_context(validation_enabled=True, validation_depth=depth):
        try:
            facts_schema(contract, labelled=labelled).validate(frame, lazy=True)
        except pa.errors.SchemaErrors as errors:
            positions = errors.failure_cases["index"]
            if positions.null_count():
                raise IntegrityError(
                    "the schema check could not be carried out",
                    cause=str(errors.failure_cases["check"][0]),
                    remedy="reinstall the pinned versions: pip install -c constraints.txt …",
                ) from None
            rejected[positions.to_numpy()] = True
    if not rejected[len(facts) :].all():
        raise IntegrityError(
            "the schema check let a row pass that must be rejected",
            canaries=len(doomed),
            passed=int((~rejected[len(facts) :]).sum()),
            remedy="reinstall the pinned versions: pip install -c constraints.txt …",
        )
    return rejected[: len(facts)]
