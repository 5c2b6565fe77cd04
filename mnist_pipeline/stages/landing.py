"""The landing: files that arrive by day and are read at night, each of them once.

What is known is recognised by name, size and time (or tag, in a bucket) and not read again. What is
bad is left out whole, with its reason on record, and looked at again once its bytes change, or when
somebody says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mnist_pipeline import plugins
from mnist_pipeline.contract.quarantine import check_budget
from mnist_pipeline.contract.records import NothingThereError
from mnist_pipeline.errors import ConfigError, DataError, did_you_mean
from mnist_pipeline.stages.bucket import BucketPart
from mnist_pipeline.stages.ingest import Part, ingest, recall_part, remember
from mnist_pipeline.stages.inputs import Input, inputs_at, inputs_of, landing_inputs
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.inputs import InputRecord, UnsettledError, quarantined, write_record
from mnist_pipeline.store.registry import now


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file of the landing that is quarantined whole.

    Attributes:
        name: what it is called.
        error: why, as `PipelineError.to_json`.
        since: when that was found, UTC.
    """

    name: str
    error: Mapping[str, Any]
    since: str

    def to_json(self) -> dict[str, Any]:
        keys = ("headline", "facts", "remedy")
        return {"file": self.name, "since": self.since, **{key: self.error[key] for key in keys}}


@dataclasses.dataclass(frozen=True)
class Replay:
    """What came of looking again at a quarantined file.

    Attributes:
        status: `taken`, `quarantined` (still), or `gone`.
        reason: why it is, or was, quarantined.
        since: when that was found, UTC.
    """

    file: str
    path: str
    status: Literal["taken", "quarantined", "gone"]
    reason: str
    since: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def take_stock(run: Run) -> list[Part | BadFile | Input]:
    """Every input of the run: those whose files are known as parts, the others as they lie there.

    Raises:
        ConfigError: a source is wrong. DataError: a named input is not there.
    """
    data = run.config.data
    landed = landing_inputs(data.landing, run.store)
    inputs = [*inputs_of(data.sources, run.store), *landed]
    if data.landing and not landed:
        run.reporter.note(f"nothing lies in {', '.join(data.landing)}")
    if run.verify or run.forced("ingest"):
        return list(inputs)
    records = [_record_that_holds(run, source) for source in inputs]
    if not any(records):
        return list(inputs)
    with run.timed("ingest", "known files") as words:
        pairs = zip(inputs, records, strict=True)
        found = [(record and _known(run, source, record)) or source for source, record in pairs]
        rows = sum(part.rows for part in found if isinstance(part, Part))
        known = sum(not isinstance(arrival, Input) for arrival in found)
        words += [f"{known:,} of {len(found):,} inputs known: {rows:,} rows", "reused"]
        return found


def take_in(run: Run, source: Input) -> Part | BadFile:
    """Ingests one input; one of the landing that is bad is quarantined whole.

    Raises:
        DataError: a named input cannot be read.
        OutsideError: it lies in a bucket, and cannot be fetched.
    """
    try:
        with _fetched(run, source) as at_hand:
            return _landed(run, at_hand) if source.landing else ingest(run, at_hand)
    except UnsettledError as error:  # tomorrow it is another file
        if not source.landing:
            raise
        return _told(run, BadFile(source.part.name, error.to_json(), now()))


@contextlib.contextmanager
def _fetched(run: Run, source: Input) -> Iterator[Input]:
    """An input with its bytes on this machine; that they had to be fetched is told."""
    with contextlib.ExitStack() as stack:
        if isinstance(source.part, BucketPart):
            with run.timed("ingest", f"fetching {source.part.name}") as words:
                words.append(f"{source.part.name}: {source.part.size:,} bytes fetched")
                source = stack.enter_context(source.at_hand())
        yield source


def _landed(run: Run, source: Input) -> Part | BadFile:
    looked, files = time.time_ns(), source.stamps()
    before = source.record(run.store, run.contract)
    try:
        part = ingest(run, source)
    except UnsettledError:
        raise
    except DataError as error:
        try:
            key = source.key(run.contract)
        except DataError:
            key = ""
        since, fault = _since(before, key), error.to_json()
        remember(run, source, key, files, looked, fault=fault, since=since)
        return _told(run, BadFile(source.part.name, fault, since))
    judged = _within_budget(
        run, part, source.record(run.store, run.contract), _since(before, part.key)
    )
    return _told(run, judged) if isinstance(judged, BadFile) else judged


def _since(before: InputRecord | None, key: str) -> str:
    """Since when the bytes of that part key are known to be bad: from now on, if they were not."""
    return before.since if before and before.fault and before.key == key else now()


def _told(run: Run, bad: BadFile) -> BadFile:
    run.reporter.note(f"{bad.name} is quarantined whole: {bad.error['headline']}")
    return bad


def _record_that_holds(run: Run, source: Input) -> InputRecord | None:
    """What is known of an input, if its files are still those that were looked at."""
    record = source.record(run.store, run.contract)
    return record if record and record.still_holds(source.stamps()) else None


def _known(run: Run, source: Input, record: InputRecord) -> Part | BadFile | None:
    """What was made of an input whose files have not changed; None if it has to be read again."""
    if fault := record.unreadable(record.key):
        return BadFile(source.part.name, fault, record.since) if source.landing else None
    name, role = source.part.name, source.part.role
    part = recall_part(run.store, record.key, name, role, unless_changed=record.objects)
    if part is None or not source.landing:
        return part
    part = dataclasses.replace(part, landing=True)
    return _within_budget(run, part, record, _since(record, record.key))


def _within_budget(run: Run, part: Part, record: InputRecord | None, since: str) -> Part | BadFile:
    """A part of the landing if few enough of its rows were rejected; its record says so."""
    fault: Mapping[str, Any] | None = None
    try:
        limit = run.config.data.max_reject_fraction
        check_budget(part.name, part.rows, part.rejected, limit, part.places)
    except DataError as error:
        fault = error.to_json()
    if record and record.fault != fault:
        since = since if fault else ""
        write_record(run.store, dataclasses.replace(record, fault=fault, since=since))
    return part if fault is None else BadFile(part.name, fault, since)


def check_files(run: Run, bad_files: Sequence[BadFile]) -> None:
    """Refuses a landing of which too much is bad: then it is rather the supplier than a file.

    Raises:
        DataError: it is.
    """
    most = run.config.data.max_bad_files
    if len(bad_files) > most:
        raise DataError(
            f"{len(bad_files):,} files of the landing are bad, more than the {most:,} allowed",
            first=[f"{bad.name}: {bad.error['headline']}" for bad in bad_files[:5]],
            remedy="mend or remove them, or raise data.max_bad_files; "
            "`mnist-pipeline data replay` lists them all",
        )


def each_once(parts: Sequence[Part]) -> tuple[list[Part], list[str]]:
    """The parts without those given twice, whose rows would count double; and remarks on them.

    Those that landed come in the order of their bytes: whatever files are called, and in how many
    copies they lie there, the same rows are the same data set.
    """
    named = [part for part in parts if not part.landing]
    landed = [part for part in parts if part.landing]
    landed.sort(key=lambda part: (part.data.digest, part.name != part.first_name))
    once: dict[tuple[str, str], Part] = {}
    remarks = [
        f"file_changed: the file {part.name} holds something else than it did before"
        for part in parts
        if part.changed
    ]
    for part in (*named, *landed):
        first = once.setdefault((part.data.digest, part.role), part)
        if first is not part:
            remarks.append(
                f"duplicate_file: the rows of {part.name} are those of {first.name}: counted once"
            )
    return list(once.values()), remarks


def replay(run: Run, files: Sequence[str]) -> list[Replay]:
    """Reads quarantined files again; those that are good now are in the next night.

    Args:
        run: with `force="ingest"`, or bytes that could not be read are not tried again.
        files: which ones, by name or path; none: all.

    Raises:
        ConfigError: no such file is quarantined.
    """
    records = list(quarantined(run.store))
    names = {name for record in records for name in _names(record)}
    for file in files:
        if file not in names and str(Path(file).absolute()) not in names:
            known = {_names(record)[0] for record in records}
            raise ConfigError(f"{file!r} is not quarantined", remedy=did_you_mean(file, known))
    wanted = {name for file in files for name in (file, str(Path(file).absolute()))}
    return [_replayed(run, record) for record in records if not files or wanted & {*_names(record)}]


def _names(record: InputRecord) -> tuple[str, str]:
    return Path(record.paths[0]).name, record.paths[0]


def _replayed(run: Run, record: InputRecord) -> Replay:
    name, path = _names(record)
    assert record.fault is not None
    status: Literal["taken", "quarantined", "gone"] = "gone"
    reason, since = record.fault["headline"], record.since
    try:
        arrival = take_in(run, _input_of(record))
    except NothingThereError:
        run.store.delete(record.name)
    except DataError as error:
        status, reason = "quarantined", error.headline
    else:
        status = "taken"
        if isinstance(arrival, BadFile):
            status, reason, since = "quarantined", arrival.error["headline"], arrival.since
    return Replay(name, path, status, reason, since)


def _input_of(record: InputRecord) -> Input:
    """The input that a record is about, as it lies there now.

    Raises:
        NothingThereError: it is gone. DataError: its source cannot make anything of it.
    """
    fields = dataclasses.fields(plugins.load("source", record.plugin))
    place = next(field.name for field in fields if field.metadata.get("locates"))
    inputs = inputs_at(record.plugin, {**record.options, place: record.paths[0]})
    found = next((each for each in inputs if each.absolute == record.paths), inputs[0])
    return dataclasses.replace(found, landing=True)
