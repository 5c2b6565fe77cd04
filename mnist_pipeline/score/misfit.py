"""A file whose images all have one shape, and another than the model's: a bad file."""

from __future__ import annotations

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.layouts import find_image_column
from mnist_pipeline.data.shapes import Shape, shape_of_value
from mnist_pipeline.errors import DataError
from mnist_pipeline.score.inputs import InputFile
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.reading import batches_of, opened
from mnist_pipeline.score.tally import Tally


def refuse_another_shape(
    file: InputFile, stamp: str, tally: Tally, contract: ImageContract, options: ScoreOptions
) -> None:
    """Refuses a file no row of which has an answer because of the shape they share.

    Where a column's type says the shape, the file fails before its first row is read; this is for
    lists and bytes of any length, and for pictures. Such a file is read again.

    Args:
        file: which one.
        stamp: see `InputFile.source`.
        tally: the counts of its rows.
        contract: what the model expects.
        options: how it was read.

    Raises:
        DataError: with the shape, field by field.
    """
    wrong = tally.rejected["image_wrong_size"]
    if not wrong or wrong + tally.rejected["image_missing"] < tally.rows:
        return
    shape: Shape | None = None
    with opened(file, stamp) as parquet:
        images = find_image_column(parquet.schema_arrow, contract, options.image_column)
        groups = range(parquet.num_row_groups)
        for batch in batches_of(parquet, file, list(images.names), groups):
            column = batch.column(images.names[0])
            for row, reason, _ in images.decode(batch, contract, options.scale).faults():
                if reason == "image_wrong_size":
                    found = shape_of_value(column[row])
                    if found != (shape or found):
                        return
                    shape = found
    raise DataError(
        f"the images of {file.relative} have another shape",
        file=file.relative,
        column=images.names[0],
        difference=[
            f"{name}: {found}, expected {expected}"
            for name, (found, expected) in contract.differences(shape or {}).items()
        ],
        remedy=f"write them as {contract.height} × {contract.width} pixels, or name another model",
    )
