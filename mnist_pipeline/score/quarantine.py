"""The quarantine of a scoring: bad rows with what stood in them, for whoever has to mend them."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq

from mnist_pipeline.contract.quarantine import QUARANTINE_SCHEMA
from mnist_pipeline.data.layouts import find_image_column
from mnist_pipeline.score.outputs import FOOTER, stored_record
from mnist_pipeline.score.reading import batches_of, opened
from mnist_pipeline.score.slices import FilePlan, Job, open_bundle
from mnist_pipeline.sources.parquet import payloads
from mnist_pipeline.store.objects import ObjectMissingError, Store

FOLDER = "_quarantine"
_KEY = b"mnist_pipeline.score.key"


def quarantine_rows(job: Job, plan: FilePlan, there: Collection[str]) -> None:
    """Writes the bad rows of an answered file to `_quarantine/`, if that is asked for.

    Its input is read once more, and only if some of its rows were rejected. Bad rows that it had
    when its bytes were others are removed.

    Args:
        job: what was scored with.
        plan: the file.
        there: the keys of all that is in quarantine.

    Raises:
        DataError: the file cannot be read any more.
    """
    output = Store.open(job.output, called="output")
    key = f"{FOLDER}/{plan.input.relative}"
    if key in there:
        if _written(output, key) == plan.key:
            return
        output.delete(key)
    if job.options.on_bad_row != "quarantine":
        return
    record = stored_record(output, plan.input.relative)
    if record is None or not record.tally.rejected:
        return
    contract = open_bundle(job.workspace, job.model, job.version, job.digest).contract
    schema = QUARANTINE_SCHEMA.with_metadata({_KEY: plan.key})
    name = plan.input.relative.rpartition("/")[2]
    with output.scratch() as folder:
        written = folder / "rejected.parquet"
        with opened(plan.input, plan.stamp) as file, pq.ParquetWriter(written, schema) as writer:
            images = find_image_column(file.schema_arrow, contract, job.options.image_column)
            groups = range(file.metadata.num_row_groups)
            first = 0
            for batch in batches_of(file, plan.input, list(images.names), groups):
                faults = list(images.decode(batch, contract, job.options.scale).faults())
                if faults:
                    rows, reasons, details = zip(*faults, strict=True)
                    columns = {
                        "source": [name] * len(rows),
                        "place": [first + row for row in rows],
                        "reason": list(reasons),
                        "detail": list(details),
                        "payload": list(payloads(batch, list(rows))),
                    }
                    writer.write_table(pa.table(columns, schema=schema))
                first += len(batch)
        output.upload(written, key)


def _written(output: Store, key: str) -> str | None:
    """The key of the plan that a quarantine file was written for; None if there is no such file."""
    try:
        with output.reader(key, block=FOOTER) as source:
            metadata: dict[bytes, bytes] = pq.read_schema(source).metadata or {}
            return metadata.get(_KEY, b"").decode()
    except (ObjectMissingError, pa.ArrowException, OSError):
        return None
