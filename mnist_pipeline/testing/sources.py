"""What a source promises."""

from __future__ import annotations

import dataclasses
import re
import tempfile
from pathlib import Path
from typing import Any

from mnist_pipeline.contract.records import PartInput, Source, flaw_of_part, flaw_of_records
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.errors import PipelineError
from mnist_pipeline.refs import digest_of, sha256
from mnist_pipeline.testing.promises import BrokenPromiseError, Promises


def check_source(source: Source, contract: ImageContract | None = None) -> None:
    """Reads all of a source, twice, and looks at what comes out.

    Args:
        source: one that has something small to read.
        contract: what its images are; MNIST's by default.

    Raises:
        BrokenPromiseError: which promise does not hold.
        PipelineError: the source's own, if it cannot be read.
    """
    promises = Promises("source", source)
    promises.options()
    contract = contract or ImageContract()
    with promises.working("parts"):
        parts, again = source.parts(), source.parts()
    promises(isinstance(parts, list) and parts, "parts returns a list, not empty", parts)
    for part in parts:
        flaw = flaw_of_part(part)
        promises(flaw is None, "a part has name, role, paths, identity and read", flaw)
    names = [part.name for part in parts], [part.name for part in again]
    promises(names[0] == names[1], "parts come in the same order every time", names)
    located = [f for f in dataclasses.fields(source) if f.metadata.get("locates")]  # type: ignore[arg-type]
    reads_files = any(part.paths for part in parts)
    declared = "a source of files declares the option that says where with locates=True"
    promises(located or not reads_files, declared)
    for part in parts:
        _check_part(promises, part, contract, labelled=getattr(source, "labelled", True))
    for field in located:
        if field.default is dataclasses.MISSING:
            _check_nothing_there(promises, source, field.name, contract)


def _check_part(
    promises: Promises, part: PartInput, contract: ImageContract, *, labelled: bool
) -> None:
    with promises.working("identity"):
        identity: Any = part.identity()
        same = part.identity() == identity
    hexadecimal = isinstance(identity, str) and re.fullmatch("[0-9a-f]{64}", identity)
    promises(hexadecimal, "identity is a sha256, 64 hexadecimal digits", identity)
    promises(same, "identity is the same for the same bytes")
    digest, places = _read(promises, part, contract, labelled=labelled)
    promises(places, "a part has rows, accepted or rejected, or raises a DataError")
    once = len(set(places)) == len(places)
    promises(once, "every row has a place of its own in its source", sorted(places)[:5])
    again, _ = _read(promises, part, contract, labelled=labelled)
    promises(again == digest, "reading again gives the same rows")


def _read(
    promises: Promises, part: PartInput, contract: ImageContract, *, labelled: bool
) -> tuple[str, list[Any]]:
    """A digest over all rows, and the places of all, rejected ones too."""
    seen: list[Any] = []
    places: list[Any] = []
    with promises.working("read"):
        for records in part.read(contract):
            flaw = flaw_of_records(records, contract)
            promises(flaw is None, "read yields Records as they are described", flaw)
            told = records.labels is not None or not labelled
            promises(told, "rows have labels, but with an option labelled=false")
            labels = None if records.labels is None else records.labels.tolist()
            rejects = [(r.place, r.reason) for r in records.rejects]
            seen.append([sha256(records.images.tobytes()), labels, rejects])
            places += [(records.source, int(place)) for place in records.places]
            places += [(reject.source, reject.place) for reject in records.rejects]
    return digest_of(seen), places


def _check_nothing_there(
    promises: Promises, source: Source, option: str, contract: ImageContract
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        nowhere = str(Path(folder) / "nothing-here")
        lost: Source = dataclasses.replace(source, **{option: nowhere})  # type: ignore[type-var]
        try:
            with promises.working("reading what is not there (but for a DataError)"):
                rows = sum(len(records) for part in lost.parts() for records in part.read(contract))
        except PipelineError as error:
            if isinstance(error, BrokenPromiseError):
                raise
            return
    raise promises.broken("what is not there raises a DataError", f"{rows} rows of nothing")
