"""Inputs: what the sources of a configuration consist of, file by file, here or in a bucket."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnist_pipeline import plugins
from mnist_pipeline.contract.records import NothingThereError, PartInput, Source
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import ConfigError, did_you_mean
from mnist_pipeline.refs import digest_of
from mnist_pipeline.stages import strangers as strangers  # takes in the parts of their sources
from mnist_pipeline.stages.bucket import BucketPart, bucket_source
from mnist_pipeline.store.inputs import (
    FileStamp,
    InputRecord,
    read_record,
    record_name,
    stamps_of,
)
from mnist_pipeline.store.objects import Store


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of a source, with all that its part's key depends on.

    Attributes:
        plugin: the source's resolved name, e.g. `csv.v1`.
        options: the options that change what is read (not where it lies).
        part: the input itself.
        landing: whether it lies in the landing: if it is bad, the night goes on without it.
    """

    plugin: str
    options: Mapping[str, Any]
    part: PartInput
    landing: bool = False

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

    def record(self, store: Store, contract: ImageContract) -> InputRecord | None:
        """What is known of its files, if anything is."""
        if not self.absolute:
            return None
        return read_record(
            store, record_name(self.plugin, self.options, self.absolute, contract.fingerprint)
        )

    @property
    def absolute(self) -> tuple[str, ...]:
        """Its files, wherever one stands; URLs if they are in a bucket; none if it is generated."""
        if isinstance(self.part, BucketPart):
            return self.part.urls
        return tuple(str(path.absolute()) for path in self.part.paths)

    def stamps(self) -> tuple[FileStamp, ...] | None:
        """What shows that its files have changed; None where nothing does."""
        if isinstance(self.part, BucketPart):
            return self.part.stamps
        return stamps_of(self.part.paths)

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[Input]:
        """The same input, with its bytes on this machine while the block lasts.

        Raises:
            UnsettledError: an object has changed since it was listed.
            OutsideError: it cannot be fetched.
        """
        if not isinstance(self.part, BucketPart):
            yield self
            return
        with self.part.at_hand() as part:
            yield dataclasses.replace(self, part=part)


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """`csv:landing/*.csv,labelled=false` as a source's name and its options.

    What stands before the first `key=value` is the plugin's first option (a path).

    Raises:
        ConfigError: no such source, or it takes no path.
    """
    name, _, rest = spec.partition(":")
    known = {info.base_name for info in plugins.available("source")}
    if not re.fullmatch(r"[a-z][a-z0-9_]*(\.v[0-9]+)?", name) or rest.startswith("//"):
        raise ConfigError(
            f"{spec!r} is not a source",
            remedy=f"say what it is: csv:{spec}, parquet:{spec} or idx:{spec}",
        )
    if name.partition(".v")[0] not in known:
        raise ConfigError(
            f"there is no source called {name!r}",
            ignored=plugins.ignored(name) or None,
            remedy=did_you_mean(name, known),
        )
    options: dict[str, Any] = {}
    pieces = re.split(r",(?=[a-z_]+=)", rest) if rest else []
    if pieces and not re.match(r"[a-z_]+=", pieces[0]):
        first = dataclasses.fields(plugins.load("source", name))[0]
        if first.type not in ("str", str):
            raise ConfigError(
                f"the source {name!r} takes no path, but was given {pieces[0]!r}",
                remedy=f"`mnist-pipeline plugins show {name}` lists its options",
            )
        options[first.name] = pieces.pop(0).removeprefix("file://")
    for piece in pieces:
        key, _, value = piece.partition("=")
        options[key] = value
    return plugins.resolve("source", name).name, options


def build_source(spec: str) -> Source:
    """The source a spec means, its options checked; nothing is opened.

    Raises:
        ConfigError: there is no such source or option, or it cannot be in such a place.
    """
    source: Source = plugins.build("source", *parse_spec(spec))
    bucket_source(source)
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
        OutsideError: a bucket cannot be listed.
    """
    inputs: list[Input] = []
    for spec in specs:
        name, options = parse_spec(spec)
        fields = {field.name: field for field in dataclasses.fields(plugins.load("source", name))}
        if "cache" in fields and "cache" not in options and store and store.root:
            options["cache"] = str(store.root / "downloads" / "mnist")
        options |= {key: value for key, value in (overrides or {}).items() if key in fields}
        inputs += inputs_at(name, options)
    return inputs


def inputs_at(name: str, options: Mapping[str, Any]) -> list[Input]:
    """Every input of one source.

    Raises:
        As `inputs_of`.
    """
    source = plugins.build("source", name, options)
    meaning = {
        field.name: getattr(source, field.name)
        for field in dataclasses.fields(source)
        if not field.metadata.get("locates")
    }
    bucket = bucket_source(source)
    parts = bucket.parts() if bucket else source.parts()
    return [Input(name, meaning, part) for part in parts]


def landing_inputs(specs: Sequence[str], store: Store | None) -> list[Input]:
    """Every input of the landing; that nothing has landed is no error.

    Raises:
        ConfigError: a spec is wrong. DataError: what is there cannot be listed.
        OutsideError: a bucket cannot be listed.
    """
    inputs: list[Input] = []
    for spec in specs:
        with contextlib.suppress(NothingThereError):
            inputs += inputs_of([spec], store)
    return [dataclasses.replace(source, landing=True) for source in inputs]
