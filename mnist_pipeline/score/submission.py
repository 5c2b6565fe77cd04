"""A submission to Kaggle's Digit Recognizer: `test.csv` in, `submission.csv` out.

The competition (https://www.kaggle.com/c/digit-recognizer) gives a CSV file of 28,000 rows
`pixel0,…,pixel783` and takes one with the header `ImageId,Label` and a line for each row, counted
from 1. It takes no gaps, so a row without an image ends everything: a label made up for it would be
wrong in nine cases of ten, and nobody would know.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnist_pipeline.contract.records import Records
from mnist_pipeline.convert.target import Target
from mnist_pipeline.data.drift import Traits
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.reporting import Reporter, Step
from mnist_pipeline.score.job import SLICE_ROWS, Summary, drift_of, keep_out
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.slices import Job, model_digest, open_bundle
from mnist_pipeline.score.tally import Tally
from mnist_pipeline.sources.csv import Csv
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.places import is_url

HEADER = b"ImageId,Label\n"
INPUTS = (".csv", ".csv.gz")


def is_submission(output: str) -> bool:
    """Whether an output is to be a submission: a file `*.csv`, and no folder of answers."""
    return output.endswith(".csv")


def submission_job(
    store: Store, manifest: Manifest, inputs: Sequence[str], output: str, options: ScoreOptions
) -> tuple[Job, Path]:
    """What is answered by whom, and the file it is read from.

    Raises:
        ConfigError: it cannot be a submission, or would replace something else than one.
    """
    if len(inputs) != 1 or not inputs[0].endswith(INPUTS) or is_url(inputs[0]) or is_url(output):
        raise ConfigError(
            "a submission is made of one CSV file on disk",
            inputs=list(inputs[:5]),
            output=output,
            remedy="mnist-pipeline score test.csv --output submission.csv; for files of answers, "
            "name a folder with --output",
        )
    if options != ScoreOptions(max_drift=options.max_drift):
        raise ConfigError(
            "a submission holds ImageId and Label of every row, and nothing can be chosen",
            output=output,
            remedy="leave the other options out; only --model and --max-drift mean something here",
        )
    keep_out(store, output)
    place = (store.place, manifest.name, manifest.version, model_digest(manifest))
    return Job(*place, str(path_of(output)), options, SLICE_ROWS), path_of(inputs[0])


def write_submission(job: Job, file: Path, reporter: Reporter) -> Summary:
    """Answers every row of a CSV file, in order; the submission is there whole, or not at all.

    Raises:
        DataError: the file cannot be read, or a row of it holds no image; nothing was written.
        ConfigError: what would be replaced is no submission.
        OutsideError: it cannot be written.
    """
    started = time.perf_counter()
    bundle = open_bundle(job.workspace, job.model, job.version, job.digest)
    target = Target(job.output, folder=False, overwrite=True)
    _refuse_to_replace(target.path)
    reporter.begin("score", file.name)
    rows, traits = 0, []
    with target.staged() as staging:
        with staging.path.open("wb") as lines:
            lines.write(HEADER)
            for records in _whole(file, bundle):
                answered = bundle.predict(records.images)
                numbers = range(rows + 1, rows + 1 + len(records))
                pairs = zip(numbers, answered.labels.tolist(), strict=True)
                lines.write("".join(f"{n},{label}\n" for n, label in pairs).encode())
                rows += len(records)
                classes = answered.probabilities.shape[1]
                of = (records.images, answered.labels, answered.confidences, classes)
                traits.append(Traits.of(*of))
                reporter.step(Step(rows, 0, "rows"))
        _refuse_to_replace(target.path)
        staging.publish()
    summary = Summary(
        files=1,
        tally=Tally(rows, scored=rows),
        failures=(),
        skipped=(),
        drift=drift_of(job, traits),
        job=dataclasses.replace(job, output=str(target.path)),
        seconds=time.perf_counter() - started,
    )
    reporter.end("score", summary.words, summary.seconds, reused=False)
    return summary


def _whole(file: Path, bundle: Bundle) -> Iterator[Records]:
    """The rows of a CSV file, block by block, of which none is missing.

    Raises:
        DataError: a row holds no image.
    """
    (part,) = Csv(str(file), labelled=False).parts()
    for records in part.read(bundle.contract):
        for reject in records.rejects[:1]:
            raise DataError(
                f"line {reject.place} of {reject.source} holds no image, and a submission "
                "needs every row",
                file=str(file),
                line=reject.place,
                reason=reject.reason,
                detail=reject.detail,
                remedy="fetch the file again, or mend the line; nothing was written. "
                f"`mnist-pipeline validate --unlabelled csv:{file}` lists all such lines",
            )
        yield records


def _refuse_to_replace(path: Path) -> None:
    """Refuses to write over anything but an older submission."""
    if path.is_file():
        with path.open("rb") as there:
            if there.read(len(HEADER)) == HEADER:
                return
        raise ConfigError(
            f"{path.name} exists and is no submission",
            output=str(path),
            remedy="name another file with --output",
        )
