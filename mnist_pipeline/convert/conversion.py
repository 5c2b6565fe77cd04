"""Converting: rows of any source, judged as ingest judges them, written in another format."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.contract.quarantine import QuarantineWriter, Tally, check_budget
from mnist_pipeline.contract.records import PartInput, Role
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.convert.formats import Form, Writer
from mnist_pipeline.convert.rows import MOST_PLACES, judged
from mnist_pipeline.convert.target import Target
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.reporting import Reporter, Step, listening
from mnist_pipeline.sources.files import path_of
from mnist_pipeline.stages.inputs import inputs_of, parse_spec
from mnist_pipeline.store.objects import Store


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion did; rows = accepted + rejected.

    Attributes:
        rows, accepted: how many.
        rejected: how many, by reason.
        places: the first rejected rows.
        output: the file or folder.
        files: of how many files it consists.
        quarantine: the list of rejected rows, if there are any.
        seconds: wall-clock.
    """

    rows: int
    accepted: int
    rejected: Mapping[str, int]
    places: Sequence[Mapping[str, Any]]
    output: str
    files: int
    quarantine: str | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        total = sum(self.rejected.values())
        return {**dataclasses.asdict(self), "places_left_out": total - len(self.places)}


def convert(
    specs: Sequence[str],
    output: Path,
    form: Form,
    *,
    max_reject_fraction: float,
    overwrite: bool,
    store: Store | None,
    reporter: Reporter,
) -> Conversion:
    """Writes the accepted rows of some sources to `output`, in bounded memory.

    Args:
        specs: what `--source` takes.
        output: the file or folder to write; see `Form.is_one_file`.
        form: what is written.
        max_reject_fraction: the share of each input that may be rejected.
        overwrite: whether an output of an earlier conversion is replaced.
        store: the workspace whose downloads may be used, or None.
        reporter: who is told how far it is.

    Raises:
        ConfigError: a source or the output is named wrongly.
        DataError: an input cannot be read, or too many of its rows were rejected.
        OutsideError: the output cannot be written.
    """
    started = time.perf_counter()
    contract = ImageContract()
    output = Path(os.path.realpath(output))
    one_file = form.is_one_file(output)
    target = Target(output, folder=not one_file, overwrite=overwrite)
    target.check()  # before anything is downloaded or read
    with contextlib.ExitStack() as stack:
        stack.enter_context(listening(reporter))
        overrides = None if form.labelled else {"labelled": False}
        parts = [source.part for source in inputs_of(specs, store, overrides)]
        split = any(part.role == "exam" for part in parts)
        if one_file and len({part.role for part in parts}) > 1:
            folder = output.name.partition(".")[0]
            raise ConfigError(
                "the data has training rows and official test rows: two files",
                output=str(output),
                remedy=f"name a folder for both: --output {output.with_name(folder)}",
            )
        _check_apart(output, form.format, specs, parts)
        staging = stack.enter_context(target.staged())
        rejects = Tally(MOST_PLACES)
        writers: dict[Role, Writer] = {}
        accepted = 0
        with contextlib.ExitStack() as files:
            quarantine = files.enter_context(QuarantineWriter(staging.rejected))
            for part in parts:
                if part.role not in writers:
                    writers[part.role] = form.writer(staging.path, part.role, contract, split=split)
                    files.callback(writers[part.role].close)
                own = Tally()
                sinks = (quarantine, rejects, own)
                blocks = judged(part, contract, labelled=form.labelled, rejects=sinks)
                accepted += _copy(
                    part, blocks, writers[part.role], own, max_reject_fraction, reporter
                )
        count = staging.publish()
    return Conversion(
        rows=accepted + rejects.total,
        accepted=accepted,
        rejected=rejects.rejected,
        places=rejects.places,
        output=str(output),
        files=count,
        quarantine=str(target.rejected) if rejects.total else None,
        seconds=round(time.perf_counter() - started, 3),
    )


def _copy(
    part: PartInput,
    blocks: Iterator[Rows],
    writer: Writer,
    rejects: Tally,
    limit: float,
    reporter: Reporter,
) -> int:
    """Writes the accepted rows of one input; returns their number.

    Raises:
        DataError: it cannot be read, or more than `limit` of it was rejected.
    """
    started = time.perf_counter()
    accepted = 0
    reporter.begin("convert", part.name)
    for rows in blocks:
        writer.write(rows)
        accepted += len(rows.images)
        reporter.step(Step(accepted, 0, "rows", part.name))
    rejected = rejects.total
    check_budget(part.name, accepted + rejected, rejects.rejected, limit, rejects.places)
    if not accepted:
        raise DataError(
            f"not one row of {part.name} was accepted",
            rejected=rejects.rejected,
            remedy="`mnist-pipeline validate` names the rows and what is wrong with them",
        )
    words = f"{part.name}: {accepted:,} rows" + (f", {rejected:,} rejected" if rejected else "")
    reporter.end("convert", words, time.perf_counter() - started, reused=False)
    return accepted


def _check_apart(
    output: Path, format: str, specs: Sequence[str], parts: Sequence[PartInput]
) -> None:
    """Refuses an output that would replace an input, or would be read as one the next time.

    Raises:
        ConfigError: it would.
    """
    read = [Path(os.path.realpath(path)) for part in parts for path in part.paths]
    for path in read:
        if path.is_relative_to(output):
            raise ConfigError(
                "the output would replace an input",
                input=str(path),
                output=str(output),
                remedy="choose another --output",
            )
    inside = any(output.is_relative_to(path) for path in read)  # of a folder of pictures
    if inside or any(_would_read(spec, output, format) for spec in specs):
        raise ConfigError(
            "the output lies where the input is looked for, and would be read with it next time",
            output=str(output),
            remedy="choose an --output outside of it",
        )


def _would_read(spec: str, output: Path, format: str) -> bool:
    """Whether a spec names a folder of this format around the output, or a pattern that fits it."""
    name, options = parse_spec(spec)
    same = name.partition(".v")[0] == format
    for field in dataclasses.fields(plugins.load("source", name)):
        if field.metadata.get("locates") and options.get(field.name):
            place = os.path.realpath(path_of(str(options[field.name])))
            if (same and output.is_relative_to(place)) or _matches(str(output), place):
                return True
    return False


def _matches(path: str, pattern: str) -> bool:
    """Whether a glob pattern (`**` for any folders) leads to a path."""
    if Path(pattern).exists():
        return False
    if "**" in pattern:
        return fnmatch.fnmatchcase(path, pattern.replace("**/", "*"))
    return Path(path).match(pattern)
