"""Small Parquet files that claim or hold very much: refused, or read a little at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.data.parquet import open_parquet
from mnist_pipeline.errors import ConfigError, DataError
from mnist_pipeline.sources.parquet import Parquet, ParquetPart
from mnist_pipeline.stages.inputs import inputs_of

CONTRACT = ImageContract()
BLACK = bytes(784)


def write(folder: Path, image: pa.Array, **columns: pa.Array) -> Path:
    path = folder / "digits.parquet"
    table = pa.table({"label": pa.array(np.zeros(len(image), np.uint8)), "image": image, **columns})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    return path


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (pa.nulls(1_000_000, pa.binary(784)), "1,000,000 rows in "),
        (pa.array([BLACK] * 70_000, pa.binary(784)), "70,000 rows in "),
        (pa.array([BLACK, bytes(40 << 20)]), " bytes for 2 rows"),
    ],
    ids=["nulls", "copies", "a long value"],
)
def test_what_no_file_of_images_claims(tmp_path: Path, image: pa.Array, found: str) -> None:
    path = write(tmp_path, image)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"digits\.parquet claims to hold more") as caught:
        next(iter(ParquetPart(path).read(CONTRACT)))
    assert found in caught.value.facts["found"]
    assert caught.value.remedy


def test_other_columns_may_hold_what_they_like(tmp_path: Path) -> None:
    path = write(tmp_path, pa.array([BLACK] * 3), photo=pa.array(["x" * (10 << 20)] * 3))
    (block,) = ParquetPart(path, image="image").read(CONTRACT)
    assert len(block) == 3


def test_few_rows_may_be_copies(tmp_path: Path) -> None:
    path = write(tmp_path, pa.array([BLACK] * 60_000, pa.binary(784)))
    assert path.stat().st_size < 60_000
    assert sum(len(block) for block in ParquetPart(path).read(CONTRACT)) == 60_000


def test_long_values_are_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    """A value that all rows share is stored once, and unpacked for each row that is read."""
    rows = 2_000
    index = pa.array(np.zeros(rows, np.int32))
    heavy = pa.DictionaryArray.from_arrays(index, pa.array([bytes(100_000)]))
    light = pa.DictionaryArray.from_arrays(index, pa.array([BLACK]))
    blocks = list(ParquetPart(write(tmp_path, heavy)).read(CONTRACT))
    assert max(len(block) + len(block.rejects) for block in blocks) <= 128
    assert sum(len(block.rejects) for block in blocks) == rows
    (block,) = ParquetPart(write(tmp_path, light)).read(CONTRACT)
    assert len(block) == rows
    assert block.places.tolist() == list(range(rows))


def test_a_list_in_the_footer_is_no_longer_than_the_footer(tmp_path: Path) -> None:
    """pyarrow would give memory for a million columns before it reads the second one."""
    path = write(tmp_path, pa.array([BLACK]))
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    # Field 2 of the footer is the list of schema elements: 0x19, then 0x3c for three structs.
    at = data.index(b"\x19\x3c", start) + 1
    lie = data[:at] + b"\xfc\xbf\x84\x3d" + data[at + 1 : -8]  # 0xfc and 999,999 as a varint
    path.write_bytes(lie + (len(lie) - start).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(OSError, match="Exceeded size limit"):
        open_parquet(path)
    with pytest.raises(DataError, match="is damaged or is not a Parquet file"):
        next(iter(ParquetPart(path).read(CONTRACT)))


@pytest.mark.parametrize("scale", ["nan", "inf", "0", "-255"])
def test_a_scale_is_a_positive_number(tmp_path: Path, scale: str) -> None:
    """NaN would have been a crash: no part's key can hold it."""
    path = write(tmp_path, pa.array([BLACK]))
    with pytest.raises(ConfigError, match="cannot take scale = ") as caught:
        inputs_of([f"parquet:{path},scale={scale}"], None)
    assert caught.value.remedy


def test_long_names_are_cut_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "digits.parquet"
    name = "\x1b[2J" + "é" * 5000
    nested = pa.array([{f"{k}" * 500: k for k in range(20)}])
    for table, options in (
        (pa.table({name: [1]}), {"labelled": False}),
        (pa.table({name: nested}), {"labelled": False}),
        (pa.table({name: [1]}), {"labelled": False, "image": "x"}),
        (pa.table({name: [BLACK]}), {}),
        (pa.table({name: [BLACK], "label": nested}), {}),
        (pa.table({name: [BLACK], name + "2": [BLACK]}), {"labelled": False}),
    ):
        pq.write_table(table, path)
        (part,) = Parquet(str(path), **options).parts()
        with pytest.raises((DataError, ConfigError)) as caught:
            list(part.read(CONTRACT))
        assert len(str(caught.value)) < 1000
        assert "\x1b" not in str(caught.value)
    pq.write_table(pa.table({name: [b"short"]}), path)
    (part,) = Parquet(str(path), labelled=False).parts()
    ((reject,),) = (block.rejects for block in part.read(CONTRACT))
    assert len(reject.detail) < 200
