"""What the pipeline makes of one mutated input, held against what must always be true.

It is checked as `validate` does and ingested as a training does, in this process. Whatever must
not be is a fault, in words that begin with its kind: `traceback`, `exit code`, `disagreement`,
`miscount`, `content`, `half-written`, `memory`, `slow`.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import re
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from mutations import PIXELS, Case, Rows

from mnist_pipeline.config import Config
from mnist_pipeline.configfile import resolve
from mnist_pipeline.contract.records import REASONS
from mnist_pipeline.data.parquet import bytes_view, read_rows, read_table
from mnist_pipeline.errors import ConfigError, DataError, PipelineError
from mnist_pipeline.reporting import Silent
from mnist_pipeline.stages.check import check
from mnist_pipeline.stages.ingest import Part, ingest
from mnist_pipeline.stages.inputs import inputs_of
from mnist_pipeline.stages.run import Run
from mnist_pipeline.store.inputs import INPUTS
from mnist_pipeline.store.objects import SCRATCH, Store

MOST_SECONDS = 5.0
MOST_GROWTH = 96 << 20  # a sound file of 85,000 rows takes 55 to 66 MB
"""Bytes for a file of at most `SMALL` bytes; twice as many for a larger one."""
SMALL = 200_000
UNLABELLED_EVERY = 8
"""About one case of so many is also checked as data without labels."""
ACROSS_ROWS = ("conflicting_duplicate", "exam_overlap")
# What is the user's to decide, not the file's fault: only these may end with exit code 2.
CHOICES = re.compile(r"scale|scaled by|could be the image")


@dataclasses.dataclass
class Outcome:
    """What became of an input.

    Attributes:
        verdict: `whole`, `with rejects` or `refused`.
        headline: for a refused one, the error's exit code and headline without names and numbers.
        faults: what must not be.
        seconds: of CPU, for check and ingest together.
        growth: bytes of memory that it took beyond what the process had.
        answer: what `validate --json` should say.
    """

    verdict: str = "refused"
    headline: str = ""
    faults: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    growth: int = 0
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)


def write(case: Case, folder: Path) -> str:
    """Writes the files of a case into a folder; returns the source to be read."""
    folder.mkdir()
    for name, data in case.files.items():
        (folder / name).write_bytes(data)
    plugin, below = case.source
    return f"{plugin}:{folder / below}"


def examine(case: Case, folder: Path) -> Outcome:
    """Checks and ingests a case, in a folder that does not exist yet and is removed again."""
    outcome = Outcome()
    source = write(case, folder)
    config = resolve([{"data": {"sources": [source]}}])
    run = Run(Store.open(folder / "workspace"), config)
    try:
        with _measured(outcome, sum(map(len, case.files.values()))):
            checked, refused = _check(config), None
            try:
                (one,) = inputs_of(config.data.sources, run.store)
                part = ingest(run, one)
            except PipelineError as error:
                part, refused = None, error
        outcome.answer = checked
        if sum(map(len, case.files.values())) % UNLABELLED_EVERY == 0:
            unlabelled = _check(config, labelled=False)
            outcome.faults += [*_explained(unlabelled, None), *_adds_up(unlabelled)]
        outcome.faults += _explained(checked, refused)
        outcome.faults += _agreement(checked, part, refused)
        outcome.faults += _stored(run, part)
        outcome.faults += _contents(case, run, part)
        if case.rows is not None and part is not None:
            outcome.faults += _conflicts(case.rows, checked)
        if refused is not None:
            outcome.headline = f"{refused.exit_code} {_class_of(refused, case)}"
        elif part is not None:
            outcome.verdict = "with rejects" if part.rejected else "whole"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        outcome.headline = "traceback"
        outcome.faults.append(f"traceback: {type(error).__name__} at {place}: {str(error)[:200]}")
    finally:
        shutil.rmtree(folder)
    return outcome


def _check(config: Config, *, labelled: bool = True) -> dict[str, Any]:
    """What `validate --json` prints."""
    try:
        findings = check(config, labelled=labelled, store=None, reporter=Silent())
    except PipelineError as error:
        return {"error": error.to_json()}
    answer = findings.to_json()
    if findings.error is not None:
        answer["error"] = findings.error.to_json()
    return answer


@contextlib.contextmanager
def _measured(outcome: Outcome, size: int) -> Iterator[None]:
    """Notes CPU seconds and the growth of memory within, and judges both."""
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier cases have left would hide what this one takes
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, started = _memory("VmRSS"), time.process_time()
    yield
    outcome.seconds = time.process_time() - started
    outcome.growth = max(0, _memory("VmHWM") - before)
    if outcome.seconds > MOST_SECONDS:
        outcome.faults.append(f"slow: {outcome.seconds:.1f} s of CPU")
    if outcome.growth > MOST_GROWTH * (1 if size <= SMALL else 2):
        outcome.faults.append(f"memory: {outcome.growth >> 20} MB")


def _memory(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is no such file."""
    with contextlib.suppress(OSError):
        match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(match[1]) << 10 if match else 0
    return 0


def _explained(checked: dict[str, Any], refused: PipelineError | None) -> Iterator[str]:
    """Every error must be one a person can act on, and JSON that is text."""
    try:
        json.dumps(checked, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        yield f"traceback: the answer is no JSON: {error}"
    told = checked.get("error")
    for error in [told] if told else []:
        is_choice = error["code"] == 2 and CHOICES.search(error["headline"])
        if error["code"] != 3 and not is_choice:
            yield f"exit code {error['code']}: {error['headline']}"
        if not error["headline"].strip() or "\n" in error["headline"] or not error["remedy"]:
            yield f"exit code {error['code']}: explains nothing: {error}"
        if len(json.dumps(error, ensure_ascii=False)) > 2000:
            yield f"exit code {error['code']}: an error of {len(json.dumps(error))} characters"
    if refused is not None and not isinstance(refused, DataError | ConfigError):
        yield f"exit code {refused.exit_code}: {refused.headline}"


def _agreement(
    checked: dict[str, Any], part: Part | None, refused: PipelineError | None
) -> Iterator[str]:
    """`validate` must say of a file what training will."""
    told = checked.get("error", {}).get("headline")
    if refused is not None:
        if told != refused.headline:
            yield f"disagreement: check says {told!r}, ingest {refused.headline!r}"
        return
    assert part is not None
    if "rows" not in checked:
        yield f"disagreement: check says {told!r}, ingest takes it"
        return
    within = {k: v for k, v in checked["rejected"].items() if k not in ACROSS_ROWS}
    if (checked["rows"], within) != (part.rows, dict(part.rejected)):
        yield f"disagreement: check counts {checked['rows']} {within}, {part.rows} {part.rejected}"
    yield from _adds_up(checked)


def _adds_up(checked: dict[str, Any]) -> Iterator[str]:
    if "rows" not in checked:
        return
    rejected = sum(checked["rejected"].values())
    if checked["rows"] != checked["accepted"] + rejected or checked["accepted"] < 0:
        yield f"miscount: {checked['rows']} rows, {checked['accepted']}, {checked['rejected']}"
    if len(checked["places"]) + checked["places_left_out"] != rejected:
        yield "miscount: not every rejected row has its place"
    if any(len(place["detail"]) > 300 for place in checked["places"]):
        yield "disagreement: a detail of more than 300 characters"


def _stored(run: Run, part: Part | None) -> Iterator[str]:
    """What lies in the workspace is whole: all of a part, or nothing of it."""
    assert run.store.root is not None
    found = {
        path.relative_to(run.store.root).as_posix()
        for path in run.store.root.rglob("*")
        if path.is_file() and path.relative_to(run.store.root).parts[0] not in ("runs", INPUTS)
    }
    expected = set()
    if (part is not None) != any((run.store.root / INPUTS).glob("*.json")):
        yield "half-written: the record of the input is there without its part, or the other way"
    if part is not None:
        refs = [ref for ref in (part.data, part.quarantine) if ref]
        expected = {f"parts/{part.key}/part.json", *(ref.key for ref in refs)}
        if not all(map(run.store.verifies, refs)):
            yield "half-written: an object of the part is not what its reference says"
    if found != expected or list((run.store.root / SCRATCH).glob("*")):
        yield f"half-written: {sorted(found ^ expected)}"


def _contents(case: Case, run: Run, part: Part | None) -> Iterator[str]:
    """The part read back: every row of the input is in it or in its quarantine, once."""
    if part is None:
        if case.sure and case.rows is not None:
            yield f"content: refused, but it holds {len(case.rows)} rows"
        return
    if case.sure and case.rows is None:
        yield f"content: {part.rows} rows of a file that cannot be read"
    rejected: list[dict[str, Any]] = []
    if part.quarantine is not None:
        with run.store.local(part.quarantine.key) as path:
            rejected = read_table(path).to_pylist()
    accepted: dict[int, bytes] = {}
    with run.store.local(part.data.key) as path:
        for batch in read_rows(path, run.contract, columns=["label", "image", "place"]):
            labels = batch["label"].to_numpy().tolist()
            for label, image, place in zip(
                labels, bytes_view(batch["image"]), batch["place"].to_pylist(), strict=True
            ):
                accepted[place] = bytes([label]) + image.tobytes()
    counts = Counter(reject["reason"] for reject in rejected)
    if counts != part.rejected or not set(counts) <= set(REASONS):
        yield f"miscount: the quarantine has {dict(counts)}, the part says {part.rejected}"
    if not len(accepted) == part.data.rows == part.rows - len(rejected):
        yield f"miscount: {len(accepted)} accepted of {part.rows}, {len(rejected)} rejected"
    first = 2 if case.source[0] == "csv" else 0  # lines count from 1 and the header is one
    places = sorted([*accepted, *(reject["place"] for reject in rejected)])
    if places != list(range(first, first + part.rows)):
        yield f"miscount: places {places[:3]} to {places[-3:]} for {part.rows} rows"
    if case.rows is not None:
        expected = {place: row for place, row in enumerate(case.rows, first) if row is not None}
        wrong = [p for p in expected.keys() | accepted.keys() if expected.get(p) != accepted.get(p)]
        if part.rows != len(case.rows):
            yield f"miscount: {part.rows} rows, the file holds {len(case.rows)}"
        elif wrong:
            yield f"content: rows {sorted(wrong)[:5]} are not what the file says"


def _conflicts(rows: Rows, checked: dict[str, Any]) -> Iterator[str]:
    """Images that occur with two labels, counted on our own."""
    labels: dict[bytes, set[int]] = {}
    present = [row for row in rows if row is not None]
    for row in present:
        labels.setdefault(row[1 : PIXELS + 1], set()).add(row[0])
    expected = sum(len(labels[row[1:]]) > 1 for row in present)
    if checked.get("rejected", {}).get("conflicting_duplicate", 0) != expected:
        yield f"miscount: {checked.get('rejected')}, but conflicting duplicates: {expected}"


def _class_of(error: PipelineError, case: Case) -> str:
    """A headline without what is particular to one file."""
    headline = error.headline
    for name in case.files:
        headline = headline.replace(name, "FILE")
    return re.sub(r"'[^']*'|[0-9][0-9,.]*|None", "…", headline)[:90]
