"""Ingest: one input of a source becomes one validated Parquet part, once, ever."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.contract.quarantine import QuarantineWriter, Sink
from mnist_pipeline.contract.records import Records, Role
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.contract.validate import Judge
from mnist_pipeline.data.parquet import CanonicalWriter, Rows
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.refs import Ref, code_digest, readable_json
from mnist_pipeline.reporting import Step
from mnist_pipeline.stages.inputs import Input
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.inputs import (
    FileStamp,
    InputRecord,
    UnsettledError,
    objects_below,
    write_record,
)
from mnist_pipeline.store.memo import hold_on_to
from mnist_pipeline.store.objects import ObjectMissingError, Store


@dataclasses.dataclass(frozen=True)
class Part:
    """An ingested input.

    Attributes:
        key: its part key.
        name: the input's name, for people.
        role: `train` or `exam`.
        rows: how many rows the input had: accepted + rejected.
        rejected: how many were rejected, by reason.
        places: the first rejected rows.
        data: the canonical Parquet file of accepted rows.
        quarantine: the rejected rows, if there are any.
        landing: whether it came from the landing.
        first_name: what it was called when it was ingested; a name may change, its rows do not.
        changed: whether its file held something else when somebody last looked.
    """

    key: str
    name: str
    role: Role
    rows: int
    rejected: Mapping[str, int]
    places: list[dict[str, Any]]
    data: Ref
    quarantine: Ref | None
    landing: bool = False
    first_name: str = ""
    changed: bool = False

    @property
    def objects(self) -> list[str]:
        """The keys of what it is made of."""
        return [ref.key for ref in (self.data, self.quarantine) if ref]

    def to_json(self) -> dict[str, Any]:
        """`part.json`: what will be true of these rows wherever they turn up again."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in fields if name not in _OF_THE_DAY}


_OF_THE_DAY = ("landing", "first_name", "changed")


def ingest(run: Run, source: Input) -> Part:
    """Parses, judges and stores one input; if that was done before, nothing but a look.

    Raises:
        DataError: the input as a whole cannot be read.
    """
    name = source.part.name
    with run.timed("ingest", name) as words:
        looked, files = time.time_ns(), source.stamps()
        key = source.key(run.contract)
        before = source.record(run.store, run.contract)
        known = None
        if not run.forced("ingest"):
            if before and (fault := before.unreadable(key)):
                raise DataError(fault["headline"], remedy=fault["remedy"], **fault["facts"])
            known = recall_part(run.store, key, name, source.part.role)
        part = known or _make(run, key, source, files)
        changed = before is not None and before.key not in ("", key)
        part = dataclasses.replace(part, landing=source.landing, changed=changed)
        remember(run, source, key, files, looked, part=part)
        rejected = sum(part.rejected.values())
        words.append(f"{name}: {part.rows:,} rows")
        if changed:
            words.append("its file has changed")
        if rejected:
            words.append(f"{rejected:,} rejected")
        if known:
            words.append("reused")
        return part


def remember(
    run: Run,
    source: Input,
    key: str,
    files: tuple[FileStamp, ...] | None,
    looked: int,
    *,
    part: Part | None = None,
    fault: Mapping[str, Any] | None = None,
    since: str = "",
) -> None:
    """Keeps what was found of an input's files, see `InputRecord`."""
    if not source.absolute:
        return
    objects = objects_below(run.store, f"parts/{key}", part.objects) if part else {}
    record = InputRecord(
        plugin=source.plugin,
        options=dict(source.options),
        paths=source.absolute,
        contract=run.contract.fingerprint,
        key=key,
        files=files or (),
        looked=looked,
        objects=objects,
        fault=fault,
        code=code_digest() if fault else "",
        since=since,
    )
    write_record(run.store, record)


def recall_part(
    store: Store,
    key: str,
    name: str,
    role: Role,
    *,
    unless_changed: Mapping[str, str] | None = None,
) -> Part | None:
    """The part of that key, if it was ingested before and all of it is whole.

    Args:
        store: where.
        key: its part key.
        name: what it is called today; it may have been ingested under another name.
        role: what it is used for today.
        unless_changed: how a listing described its objects when they were verified: if it still
            does, they are not read again.
    """
    record = f"parts/{key}/part.json"
    try:
        stored = store.get(record)
        memo = json.loads(stored)
        data = Ref.from_json(memo["data"])
        quarantine = Ref.from_json(memo["quarantine"]) if memo["quarantine"] else None
        rows, rejected, places = memo["rows"], memo["rejected"], memo["places"]
        first_name = memo["name"]
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return None
    # A file that was ingested under another name goes by the one it has today.
    places = [{**place, "source": name} for place in places]
    part = Part(key, name, role, rows, rejected, places, data, quarantine, first_name=first_name)

    def unchanged() -> bool:
        return objects_below(store, f"parts/{key}", part.objects) == unless_changed

    refs = [ref for ref in (data, quarantine) if ref]
    return part if hold_on_to(store, record, stored, refs, unless=unchanged) else None


def _make(run: Run, key: str, input: Input, files: tuple[FileStamp, ...] | None) -> Part:
    source = input.part
    with run.store.scratch() as folder:
        data_path, rejected_path = folder / "part.parquet", folder / "rejected.parquet"
        with (
            CanonicalWriter(data_path, run.contract, labelled=True) as writer,
            QuarantineWriter(rejected_path) as quarantine,
        ):
            rejected = quarantine.tally
            for rows in accepted_rows(source.read(run.contract), run.contract, quarantine):
                if rows.labels is None:
                    raise without_labels(input)
                writer.write(rows)
                run.reporter.step(Step(writer.rows + rejected.total, 0, "rows", source.name))
        if input.stamps() != files:
            raise UnsettledError(
                f"{source.name} changed while it was read",
                file=input.absolute[0],
                remedy="let whoever writes it finish; writing to another name and renaming is safe",
            )
        quarantine_ref = None
        if rejected.total:
            quarantine_ref = run.store.upload(
                rejected_path, f"parts/{key}/rejected.parquet", rows=rejected.total
            )
        data = run.store.upload(data_path, f"parts/{key}/part.parquet", rows=writer.rows)
    part = Part(
        key=key,
        name=source.name,
        role=source.role,
        rows=writer.rows + rejected.total,
        rejected=rejected.rejected,
        places=rejected.places,
        data=data,
        quarantine=quarantine_ref,
        first_name=source.name,
    )
    run.store.put(f"parts/{key}/part.json", readable_json(part.to_json()))
    return part


def without_labels(source: Input) -> ConfigError:
    """The error for an input that has no labels, where they are needed."""
    remedy = "name a source that gives labels"
    if "labelled" in source.options:
        remedy = "leave labelled=false out of its source"
    return ConfigError(
        f"{source.part.name} was read without labels, and training needs them",
        source=source.plugin,
        remedy=remedy,
    )


def accepted_rows(
    blocks: Iterator[Records], contract: ImageContract, rejects: Sink
) -> Iterator[Rows]:
    """The rows of a source that the contract accepts, block by block; the others join `rejects`."""
    judge = Judge(contract)
    next_id = 0
    for records in blocks:
        rejects.extend(records.rejects)
        if not len(records):
            continue
        accepted, turned_away = judge.judge(records)
        rejects.extend(turned_away)
        if not accepted.any():
            continue
        everything = bool(accepted.all())
        images = records.images if everything else records.images[accepted]
        places = records.places if everything else records.places[accepted]
        labels = None
        if records.labels is not None:
            labels = records.labels[accepted].astype(np.uint8)
        ids = np.arange(next_id, next_id + len(images), dtype=np.int64)
        next_id += len(images)
        yield Rows(ids, labels, images, row_digests(images), places, records.source)
    judge.finish()
