"""Ingest: one input of a source becomes one validated Parquet part, once, ever."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mnist_pipeline import plugins
from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.contract.quarantine import QuarantineWriter, Sink
from mnist_pipeline.contract.records import PartInput, Records, Role, Source
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.contract.validate import Judge
from mnist_pipeline.data.parquet import CanonicalWriter, Rows
from mnist_pipeline.errors import ConfigError, did_you_mean
from mnist_pipeline.refs import Ref, digest_of, readable_json
from mnist_pipeline.reporting import Step
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.memo import hold_on_to
from mnist_pipeline.store.objects import ObjectMissingError, Store


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a source, with all that its part's key depends on.

    Attributes:
        plugin: the source's resolved name, e.g. `csv.v1`.
        options: the options that change what is read (not where it lies).
        part: the input itself.
    """

    plugin: str
    options: Mapping[str, Any]
    part: PartInput

    def key(self, contract: ImageContract) -> str:
        """The part key: a sha256 over source bytes, plugin, options and contract."""
        return digest_of(
            {
                "bytes": self.part.identity(),
                "plugin": self.plugin,
                "options": dict(self.options),
                "contract": contract.fingerprint,
            }
        )


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
    """

    key: str
    name: str
    role: Role
    rows: int
    rejected: Mapping[str, int]
    places: list[dict[str, Any]]
    data: Ref
    quarantine: Ref | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """`csv:landing/*.csv,labelled=false` as a source's name and its options.

    What stands before the first `key=value` is the plugin's first option (a path).

    Raises:
        ConfigError: no such source, or it takes no path.
    """
    name, _, rest = spec.partition(":")
    known = {info.base_name for info in plugins.available("source")}
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.v[0-9]+)?", name):
        raise ConfigError(
            f"{spec!r} is not a source",
            remedy=f"say what it is: csv:{spec}, parquet:{spec} or idx:{spec}",
        )
    if name.partition(".v")[0] not in known:
        raise ConfigError(f"there is no source called {name!r}", remedy=did_you_mean(name, known))
    options: dict[str, Any] = {}
    pieces = re.split(r",(?=[a-z_]+=)", rest) if rest else []
    if pieces and not re.match(r"[a-z_]+=", pieces[0]):
        first = dataclasses.fields(plugins.load("source", name))[0]
        if first.type not in ("str", str):
            raise ConfigError(
                f"the source {name!r} takes no path, but was given {pieces[0]!r}",
                remedy=f"`mnist-pipeline plugins show {name}` lists its options",
            )
        options[first.name] = pieces.pop(0)
    for piece in pieces:
        key, _, value = piece.partition("=")
        options[key] = value
    return plugins.resolve("source", name).name, options


def build_source(spec: str) -> Source:
    """The source a spec means, its options checked; nothing is opened.

    Raises:
        ConfigError: there is no such source or option.
    """
    source: Source = plugins.build("source", *parse_spec(spec))
    return source


def inputs_of(
    specs: Sequence[str], store: Store | None, overrides: Mapping[str, Any] | None = None
) -> list[Input]:
    """Every input of every source, in the order given.

    Args:
        specs: what `--source` takes.
        store: the workspace: downloads are kept there; None for none.
        overrides: options for every source that has them.

    Raises:
        ConfigError: a spec is wrong. DataError: a named input is not there.
    """
    inputs: list[Input] = []
    for spec in specs:
        name, options = parse_spec(spec)
        fields = {field.name: field for field in dataclasses.fields(plugins.load("source", name))}
        if "cache" in fields and "cache" not in options and store and store.root:
            options["cache"] = str(store.root / "downloads" / "mnist")
        options |= {key: value for key, value in (overrides or {}).items() if key in fields}
        source = plugins.build("source", name, options)
        meaning = {
            field.name: getattr(source, field.name)
            for field in fields.values()
            if not field.metadata.get("locates")
        }
        inputs += [Input(name, meaning, part) for part in source.parts()]
    return inputs


def ingest(run: Run, source: Input) -> Part:
    """Parses, judges and stores one input; if that was done before, nothing but a look.

    Raises:
        DataError: the input as a whole cannot be read.
    """
    name = source.part.name
    with run.timed("ingest", name) as words:
        key = source.key(run.contract)
        known = (
            None if run.forced("ingest") else recall_part(run.store, key, name, source.part.role)
        )
        part = known or _make(run, key, source.part)
        rejected = sum(part.rejected.values())
        words.append(f"{name}: {part.rows:,} rows")
        if rejected:
            words.append(f"{rejected:,} rejected")
        if known:
            words.append("reused")
        return part


def recall_part(store: Store, key: str, name: str, role: Role) -> Part | None:
    """The part of that key, if it was ingested before and all of it verifies.

    Args:
        store: where.
        key: its part key.
        name: what it is called today; it may have been ingested under another name.
        role: what it is used for today.
    """
    record = f"parts/{key}/part.json"
    try:
        stored = store.get(record)
        memo = json.loads(stored)
        data = Ref.from_json(memo["data"])
        quarantine = Ref.from_json(memo["quarantine"]) if memo["quarantine"] else None
        rows, rejected, places = memo["rows"], memo["rejected"], memo["places"]
    except (ObjectMissingError, ValueError, KeyError, TypeError):
        return None
    if not hold_on_to(store, record, stored, [ref for ref in (data, quarantine) if ref]):
        return None
    places = [{**place, "source": name} for place in places]
    return Part(key, name, role, rows, rejected, places, data, quarantine)


def _make(run: Run, key: str, source: PartInput) -> Part:
    with run.store.scratch() as folder:
        data_path, rejected_path = folder / "part.parquet", folder / "rejected.parquet"
        with (
            CanonicalWriter(data_path, run.contract, labelled=True) as writer,
            QuarantineWriter(rejected_path) as quarantine,
        ):
            rejected = quarantine.tally
            for rows in accepted_rows(source.read(run.contract), run.contract, quarantine):
                if rows.labels is None:
                    raise ConfigError(
                        f"{source.name} was read without labels, and training needs them",
                        remedy="leave labelled=false out of its source",
                    )
                writer.write(rows)
                run.reporter.step(Step(writer.rows + rejected.total, 0, "rows", source.name))
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
    )
    run.store.put(f"parts/{key}/part.json", readable_json(part.to_json()))
    return part


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
