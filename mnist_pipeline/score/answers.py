"""Answers: a batch of input rows becomes as many output rows, in the same order."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnist_pipeline.data.drift import Traits
from mnist_pipeline.data.layouts import Decoded, find_image_column
from mnist_pipeline.errors import ConfigError, DataError, did_you_mean
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.options import ANSWERS, ScoreOptions
from mnist_pipeline.score.tally import Tally

SAMPLE = 1024
"""About as many rows of a batch are looked at for drift."""

OK, LOW_CONFIDENCE, REJECTED = "ok", "low_confidence", "rejected"
_STATUSES = np.array([OK, LOW_CONFIDENCE, REJECTED])


class Answers:
    """Answers the batches of one file.

    Args:
        file: which one.
        columns: its schema.
        bundle: who answers.
        options: what is written.

    Attributes:
        read: the columns to be read from the file.
        schema: of the output: carried columns, partition keys, answers.

    Raises:
        DataError: no column can hold the images, or two have one name.
        ConfigError: a named column is not there.
    """

    def __init__(
        self, file: InputFile, columns: pa.Schema, bundle: Bundle, options: ScoreOptions
    ) -> None:
        self._file, self._bundle, self._options = file, bundle, options
        path = Path(file.relative)
        self._images = find_image_column(columns, bundle.contract, options.image_column, file=path)
        carried = []
        for name, renamed in options.carried:
            if name not in columns.names:
                raise ConfigError(
                    f"{path.name} has no column {name!r} to carry",
                    file=file.relative,
                    remedy=did_you_mean(name, columns.names),
                )
            carried.append(columns.field(name).with_name(renamed))
        taken = {field.name for field in carried}
        self._partitions = [pair for pair in file.partitions if pair[0] not in taken]
        if clash := [key for key, _ in self._partitions if key in ANSWERS]:
            raise DataError(
                f"the partition key {clash[0]!r} has the name of an answer",
                file=file.relative,
                remedy="rename the folders, or score each of them by itself",
            )
        self.read = list(dict.fromkeys([*self._images.names, *(n for n, _ in options.carried)]))
        self.schema = pa.schema(
            [
                *carried,
                *(pa.field(key, pa.string()) for key, _ in self._partitions),
                *_answer_fields(options, len(bundle.contract.classes)),
            ]
        )

    def answer(self, batch: pa.RecordBatch, first_row: int) -> tuple[pa.RecordBatch, Tally, Traits]:
        """The answers to a batch whose first row is row `first_row` of the file.

        With them the counts, and the traits of a sample: all rows would cost a third more.

        Raises:
            DataError: a row is bad, and bad rows fail the file.
        """
        decoded = self._images.decode(batch, self._bundle.contract, self._options.scale)
        if self._options.on_bad_row == "fail":
            self._refuse_faults(decoded, first_row)
        probabilities = self._bundle.predictor(decoded.images)
        labels = probabilities.argmax(axis=1)
        confidences = probabilities[np.arange(len(labels)), labels]
        bad = decoded.faulty
        unsure = ~bad & (confidences < self._options.min_confidence)
        tally = _tally(bad, unsure, decoded.reasons)
        columns = {
            "row_id": pa.array(np.arange(first_row, first_row + len(batch), dtype=np.int64)),
            "label": pa.array(labels.astype(np.uint8), mask=bad | unsure),
            "confidence": pa.array(confidences, mask=bad),
            "status": _statuses(bad, unsure),
            "reason": _reasons(decoded, unsure),
        }
        if self._options.top_k:
            best = np.argsort(-probabilities, axis=1, kind="stable")[:, : self._options.top_k]
            likely = np.take_along_axis(probabilities, best, axis=1)
            columns["top_labels"] = _lists(best.astype(np.uint8), bad)
            columns["top_confidences"] = _lists(likely, bad)
        if self._options.probabilities:
            columns["probabilities"] = _lists(probabilities, bad)
        arrays = [batch.column(name) for name, _ in self._options.carried]
        arrays += [pa.repeat(pa.scalar(v, pa.string()), len(batch)) for _, v in self._partitions]
        arrays += [columns[name] for name in ANSWERS if name in columns]
        answered = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        some = np.flatnonzero(~bad)[:: max(1, len(batch) // SAMPLE)]
        C = probabilities.shape[1]
        traits = Traits.of(decoded.images[some], labels[some], confidences[some], C)
        return answered, tally, traits

    def _refuse_faults(self, decoded: Decoded, first_row: int) -> None:
        for row, reason, detail in decoded.faults():
            raise DataError(
                f"row {first_row + row} of {self._file.relative} is bad: {reason}",
                file=self._file.relative,
                row=first_row + row,
                detail=detail,
                remedy="mend it, or let bad rows go without an answer: --on-bad-row null",
            )


def _answer_fields(options: ScoreOptions, classes: int) -> list[pa.Field]:
    fields = [
        pa.field("row_id", pa.int64(), nullable=False),
        pa.field("label", pa.uint8()),
        pa.field("confidence", pa.float32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
    ]
    if options.top_k:
        k = min(options.top_k, classes)
        fields.append(pa.field("top_labels", pa.list_(pa.uint8(), k)))
        fields.append(pa.field("top_confidences", pa.list_(pa.float32(), k)))
    if options.probabilities:
        fields.append(pa.field("probabilities", pa.list_(pa.float32(), classes)))
    return fields


def _tally(bad: NDArray[np.bool_], unsure: NDArray[np.bool_], reasons: list[str]) -> Tally:
    abstained = int(np.count_nonzero(unsure))
    scored = len(bad) - int(np.count_nonzero(bad)) - abstained
    return Tally(len(bad), scored, abstained, Counter(reasons))


def _statuses(bad: NDArray[np.bool_], unsure: NDArray[np.bool_]) -> pa.Array:
    which = np.zeros(len(bad), np.int8)
    which[unsure], which[bad] = 1, 2
    return pa.DictionaryArray.from_arrays(which, pa.array(_STATUSES)).cast(pa.string())


def _reasons(decoded: Decoded, unsure: NDArray[np.bool_]) -> pa.Array:
    if not decoded.reasons and not unsure.any():
        return pa.nulls(len(unsure), pa.string())
    reasons = np.full(len(unsure), None, object)
    reasons[decoded.faulty] = decoded.reasons
    reasons[unsure] = LOW_CONFIDENCE
    return pa.array(reasons, pa.string())


def _lists(values: NDArray[np.generic], null: NDArray[np.bool_]) -> pa.Array:
    mask = pa.array(null) if null.any() else None
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=mask)
