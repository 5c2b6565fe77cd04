"""Slices: a file cut at its row groups into pieces of work, and put together again.

A slice is scored by whoever comes: a thread here, a Prefect task, a worker on another host. All it
needs travels in it as text and numbers; all it leaves is a file of answers under a name that
follows from what it is, so what was done before, by whomever, is not done again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from mnist_pipeline.data.drift import Traits
from mnist_pipeline.errors import ConfigError, DataError, IntegrityError
from mnist_pipeline.model.bundle import Bundle
from mnist_pipeline.refs import digest_of
from mnist_pipeline.score.answers import Answers
from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.misfit import refuse_another_shape
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.outputs import AnswerWriter, Record, is_foreign, record_of, stored_record
from mnist_pipeline.score.reading import batches_of, identify, opened
from mnist_pipeline.score.tally import Tally
from mnist_pipeline.store.bundles import BUNDLE_FILES, read_bundle
from mnist_pipeline.store.manifest import Manifest
from mnist_pipeline.store.objects import SECONDS_UNTIL_ABANDONED, ObjectMissingError, Store
from mnist_pipeline.store.registry import Registry

SLICES = ".slices"
VERSION = 1  # of what scoring writes: raise it whenever the same input gives other bytes


@dataclasses.dataclass(frozen=True)
class Job:
    """What a whole scoring has in common.

    Attributes:
        workspace: where the model is.
        model, version: which one.
        digest: sha256 over the bundle's files.
        output: the folder or URL of the answers.
        options: how.
        slice_rows: rows a slice has at least, unless the file ends.
    """

    workspace: str
    model: str
    version: int
    digest: str
    output: str
    options: ScoreOptions
    slice_rows: int


@dataclasses.dataclass(frozen=True)
class FilePlan:
    """One input file and how it is cut.

    Attributes:
        input: the file.
        digest: sha256 of its bytes.
        rows: how many it has.
        key: sha256 over model, bytes and options: what its answers depend on.
        cuts: for each slice (first row group, row group after the last, first row, rows).
        done: whether its answers are there already.
        stamp: what would tell that it has changed since, see `stamp_of`.
    """

    input: InputFile
    digest: str
    rows: int
    key: str
    cuts: tuple[tuple[int, int, int, int], ...]
    done: bool
    stamp: str

    def slice_key(self, number: int) -> str:
        """Where the answers of a slice go: the final place if there is only one."""
        if len(self.cuts) == 1:
            return self.input.relative
        return f"{self.slice_folder}/{number:05d}-of-{len(self.cuts):05d}.parquet"

    @property
    def slice_folder(self) -> str:
        """Where its slices go until they are put together."""
        own = digest_of([self.key, self.input.relative])  # a copy of the file has other slices
        return f"{SLICES}/{own[:24]}"


def model_digest(manifest: Manifest) -> str:
    """The sha256 over the files of a version that predictions depend on."""
    return digest_of({name: manifest.files[name].digest for name in BUNDLE_FILES})


def plan_file(job: Job, file: InputFile) -> FilePlan:
    """Looks at a file: what it is, how it is cut, whether it was answered before.

    Raises:
        DataError: it cannot be read, or has no rows.
        ConfigError: a file that scoring did not write lies where its answers belong.
    """
    digest, stamp = identify(file)
    with opened(file, stamp) as parquet:
        metadata = parquet.metadata
        if metadata.num_rows == 0:
            raise DataError(
                f"{file.relative} has no rows", file=file.relative, remedy="leave it out"
            )
        cuts = []
        start = first_row = rows = 0
        for group in range(metadata.num_row_groups):
            rows += metadata.row_group(group).num_rows
            if rows >= job.slice_rows or group + 1 == metadata.num_row_groups:
                cuts.append((start, group + 1, first_row, rows))
                start, first_row, rows = group + 1, first_row + rows, 0
    key = digest_of(
        {
            "version": VERSION,
            "model": job.digest,
            "input": digest,
            "partitions": list(file.partitions),
            "options": job.options.to_json(),
        }
    )
    output = Store.open(job.output, called="output")
    known = stored_record(output, file.relative)
    if known is None and is_foreign(output, file.relative):
        raise ConfigError(
            f"{file.relative} in the output is no file of answers, and would be replaced",
            output=job.output,
            remedy="move it away, or name another folder with --output",
        )
    done = known is not None and known.key == key and _stands(job, known)
    return FilePlan(file, digest, metadata.num_rows, key, tuple(cuts), done, stamp)


def score_slice(
    job: Job, plan: FilePlan, number: int, told: Callable[[int], None] = lambda _: None
) -> Tally:
    """Answers one slice and stores the answers, unless they are there.

    Args:
        job: what all slices have in common.
        plan: the file it belongs to.
        number: which slice.
        told: called with the number of rows of each batch that is done; may raise to stop.

    Raises:
        DataError: the file cannot be read, or a bad row fails it.
        IntegrityError: the model does not verify.
    """
    output = Store.open(job.output, called="output")
    key, of = plan.slice_key(number), len(plan.cuts)
    known = stored_record(output, key)
    if known and known.key == plan.key and known.part == (number, of) and _stands(job, known):
        return known.tally
    bundle = open_bundle(job.workspace, job.model, job.version, job.digest)
    start, stop, first_row, rows = plan.cuts[number]
    tally, traits = Tally(), Traits.none(len(bundle.contract.classes))
    with output.scratch() as folder:
        with opened(plan.input, plan.stamp) as parquet:
            answers = Answers(plan.input, parquet.schema_arrow, bundle, job.options)
            written = folder / "answers.parquet"
            with AnswerWriter(written, answers.schema) as writer:
                for batch in batches_of(parquet, plan.input, answers.read, range(start, stop)):
                    answered, counts, sample = answers.answer(batch, first_row + tally.rows)
                    writer.write(answered)
                    tally.add(counts)
                    traits += sample
                    told(counts.rows)
                if tally.rows != rows:
                    raise _lost_rows(plan.input, rows, tally.rows)
                if of == 1:
                    _refuse_another_shape(job, plan, bundle, tally)
                writer.finish(_record(job, plan, bundle, (number, of), tally, traits))
        output.upload(written, key, rows=tally.rows)
    return tally


def _stands(job: Job, known: Record) -> bool:
    """Whether an answer still counts: bad rows may not have been a reason to fail then."""
    return not (known.tally.rejected and job.options.on_bad_row == "fail")


def assemble(job: Job, plan: FilePlan) -> None:
    """Puts the slices of a file together in its final place, unless that is done.

    Raises:
        DataError: all of its images have another shape.
        IntegrityError: a slice is missing or damaged.
    """
    output = Store.open(job.output, called="output")
    if len(plan.cuts) == 1 or _is_whole(output, plan):
        return
    try:
        _join(job, plan, output)
    except (IntegrityError, FileNotFoundError):
        if not _is_whole(output, plan):  # somebody else was faster, and has cleared up
            raise


def clear_slices(job: Job, plans: Iterable[FilePlan]) -> None:
    """Removes the slices of files that are whole, and those nobody came back for in a day."""
    output = Store.open(job.output, called="output")
    whole = {plan.slice_folder for plan in plans}
    for info in output.list(SLICES):
        age = time.time() - info.modified.timestamp()
        if info.key.rpartition("/")[0] in whole or age > SECONDS_UNTIL_ABANDONED:
            output.delete(info.key)
    if output.root:  # a bucket has no folders that could be left empty
        folder, emptied = output.root / SLICES, list[Path]()
        with contextlib.suppress(FileNotFoundError):  # another scorer clears up as well
            emptied += folder.iterdir()
        for each in (*emptied, folder):
            with contextlib.suppress(OSError):
                each.rmdir()


def _is_whole(output: Store, plan: FilePlan) -> bool:
    known = stored_record(output, plan.input.relative)
    return known is not None and known.key == plan.key


def _join(job: Job, plan: FilePlan, output: Store) -> None:
    whole = Tally()
    bundle = open_bundle(job.workspace, job.model, job.version, job.digest)
    traits = Traits.none(len(bundle.contract.classes))
    with output.scratch() as folder:
        written = folder / "answers.parquet"
        with _slice(output, plan, 0) as (path, _):
            schema = pq.read_schema(path).remove_metadata()
        with AnswerWriter(written, schema) as writer:
            for number in range(len(plan.cuts)):
                with (
                    _slice(output, plan, number) as (path, record),
                    pq.ParquetFile(path, page_checksum_verification=True) as piece,
                ):
                    for batch in piece.iter_batches(1 << 16, use_threads=False):
                        writer.write(batch)
                whole.add(record.tally)
                traits += record.traits
            if whole.rows != plan.rows:
                raise _lost_rows(plan.input, plan.rows, whole.rows)
            _refuse_another_shape(job, plan, bundle, whole)
            writer.finish(_record(job, plan, bundle, (0, 1), whole, traits))
        output.upload(written, plan.input.relative, rows=whole.rows)


@contextlib.contextmanager
def _slice(output: Store, plan: FilePlan, number: int) -> Iterator[tuple[Path, Record]]:
    try:
        with output.local(plan.slice_key(number)) as path:
            record = record_of(path)
            if record and record.key == plan.key and record.part == (number, len(plan.cuts)):
                yield path, record
                return
    except ObjectMissingError:
        pass
    raise IntegrityError(
        f"slice {number} of {plan.input.relative} is missing or damaged",
        remedy="score again: what is there is not done twice",
    )


@functools.lru_cache(maxsize=2)
def open_bundle(workspace: str, model: str, version: int, digest: str) -> Bundle:
    """The model of a job, verified once a process.

    Raises:
        IntegrityError: it does not hold, or is not the one the job was planned with.
    """
    store = Store.open(workspace, writable=False)
    manifest = Registry(store).manifest(model, version)
    if model_digest(manifest) != digest:
        raise IntegrityError(
            f"{model}@{version} changed while it was scoring",
            remedy="verify it with `mnist-pipeline models verify` and score again",
        )
    return read_bundle(store, manifest)


def _record(
    job: Job,
    plan: FilePlan,
    bundle: Bundle,
    part: tuple[int, int],
    tally: Tally,
    traits: Traits,
) -> Record:
    return Record(
        key=plan.key,
        model={
            "name": job.model,
            "version": job.version,
            "digest": job.digest,
            "contract": bundle.contract.fingerprint,
        },
        input={"file": plan.input.relative, "digest": plan.digest, "rows": plan.rows},
        options=job.options.to_json(),
        part=part,
        tally=tally,
        traits=traits,
    )


def _refuse_another_shape(job: Job, plan: FilePlan, bundle: Bundle, tally: Tally) -> None:
    refuse_another_shape(plan.input, plan.stamp, tally, bundle.contract, job.options)


def _lost_rows(file: InputFile, expected: int, found: int) -> DataError:
    return DataError(
        f"{file.relative} lacks rows",
        file=file.relative,
        expected=f"{expected:,} rows in these row groups",
        found=f"{found:,}",
        remedy="write the file again",
    )
