"""Writers: what they wrote, read by somebody else; names, and what cannot be asked for."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mnist_pipeline.contract.facts import row_digests
from mnist_pipeline.contract.records import Role
from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.convert.formats import FORMATS, Form
from mnist_pipeline.convert.parquet import LAYOUTS
from mnist_pipeline.data.parquet import Rows
from mnist_pipeline.errors import ConfigError

CONTRACT = ImageContract()
N = 420


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Noise and blank images: every pixel value, long and short rows of text."""
    found = np.random.default_rng(0).integers(0, 256, (N, 784), np.uint8)
    found[3::5] = 0
    found[4::5] = 255
    return found


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 9, N).astype(np.uint8)  # no 9 among them


def write(
    form: Form,
    output: Path,
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    role: Role = "train",
    split: bool = False,
) -> None:
    """Writes rows in blocks of several sizes."""
    with contextlib.closing(form.writer(output, role, CONTRACT, split=split)) as writer:
        for start, end in ((0, 1), (1, 1), (1, 300), (300, N)):
            block = images[start:end]
            writer.write(
                Rows(
                    np.arange(start, end),
                    None if labels is None else labels[start:end],
                    block,
                    row_digests(block),
                    np.arange(start, end),
                    "somewhere",
                )
            )


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("role", ["train", "exam"])
def test_idx(
    images: np.ndarray,
    labels: np.ndarray,
    role: Role,
    labelled: bool,
    compress: bool,
    tmp_path: Path,
) -> None:
    form = Form("idx", labelled=labelled, compress=compress)
    write(form, tmp_path / "out", images, labels if labelled else None, role=role)
    stem, end = {"train": "train", "exam": "t10k"}[role], ".gz" * compress
    wanted = {f"{stem}-images-idx3-ubyte{end}": images}
    if labelled:
        wanted[f"{stem}-labels-idx1-ubyte{end}"] = labels
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(wanted)
    for name, values in wanted.items():
        content = (tmp_path / "out" / name).read_bytes()
        content = gzip.decompress(content) if compress else content
        if values is images:
            header = struct.pack(">4I", 0x803, N, 28, 28)
        else:
            header = struct.pack(">2I", 0x801, N)
        assert content == header + values.tobytes()


def test_the_same_rows_are_the_same_gzip(
    images: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    for form in (Form("idx", compress=True), Form("csv", compress=True)):
        for folder in ("one", "other"):
            write(form, tmp_path / f"{form.format}-{folder}", images, labels)
        for path in (tmp_path / f"{form.format}-one").iterdir():
            other = tmp_path / f"{form.format}-other" / path.name
            assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x"])
@pytest.mark.parametrize("labelled", [False, True])
def test_csv(
    images: np.ndarray, labels: np.ndarray, labelled: bool, name: str, tmp_path: Path
) -> None:
    write(Form("csv", labelled=labelled), tmp_path / name, images, labels if labelled else None)
    path = tmp_path / name / "train.csv" if name == "x" else tmp_path / name
    content = path.read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    expected = io.BytesIO()
    columns = [f"pixel{k}" for k in range(784)]
    table: np.ndarray = images
    if labelled:
        columns, table = ["label", *columns], np.column_stack([labels, images])
    np.savetxt(expected, table, "%d", ",", header=",".join(columns), comments="")
    assert content == expected.getvalue()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("labelled", [False, True])
def test_parquet(
    images: np.ndarray, labels: np.ndarray, labelled: bool, layout: str, tmp_path: Path
) -> None:
    form = Form("parquet", labelled=labelled, layout=layout)
    write(form, tmp_path / "x.parquet", images, labels if labelled else None)
    table = pq.read_table(tmp_path / "x.parquet")
    if labelled:
        assert table.schema.field("label").type == pa.uint8()
        np.testing.assert_array_equal(table["label"], labels)
        table = table.drop_columns("label")
    if layout == "columns":
        assert table.column_names == [f"pixel{k}" for k in range(784)]
        found = np.stack([column.to_numpy() for column in table], axis=1)
    else:
        (column,) = table.columns
        values = column.combine_chunks().to_pylist()
        if layout == "bytes":
            assert column.type == pa.binary(784)
            found = np.frombuffer(b"".join(values), np.uint8)
        elif layout == "png":
            found = np.stack([np.asarray(Image.open(io.BytesIO(v["bytes"]))) for v in values])
        else:
            assert isinstance(column.type, pa.FixedShapeTensorType) == (layout == "tensor")
            found = np.array(values)
    np.testing.assert_array_equal(found.reshape(N, 784), images)


def test_parquet_is_of_bytes_and_can_be_verified(
    images: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    write(Form("parquet"), tmp_path / "x.parquet", images, labels)
    assert pq.read_schema(tmp_path / "x.parquet").field("image").type == pa.binary(784)
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(tmp_path / "x.parquet", page_checksum_verification=True).read()


@pytest.mark.parametrize("split", [False, True])
def test_png(images: np.ndarray, labels: np.ndarray, split: bool, tmp_path: Path) -> None:
    write(Form("png"), tmp_path / "x", images, labels, role="exam", split=split)
    top = tmp_path / "x" / "test" if split else tmp_path / "x"
    assert sorted(folder.name for folder in top.iterdir()) == list("012345678")
    for k in range(N):
        with Image.open(top / str(labels[k]) / f"{k:07d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture).ravel(), images[k])
    assert len(list(top.rglob("*.png"))) == N


def test_png_without_labels(images: np.ndarray, tmp_path: Path) -> None:
    write(Form("png", labelled=False), tmp_path / "x", images, None)
    assert sorted(path.name for path in (tmp_path / "x").iterdir())[-1] == f"{N - 1:07d}.png"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"format": "cvs"}, "'csv'"),
        ({"format": "idx", "layout": "list"}, "--layout"),
        ({"format": "parquet", "layout": "lst"}, "'list'"),
        ({"format": "parquet", "compress": True}, "--compress"),
        ({"format": "png", "compress": True}, "--compress"),
    ],
)
def test_what_cannot_be_asked_for(asked: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Form(**asked)
    assert says in caught.value.remedy


@pytest.mark.parametrize(
    ("form", "name", "one_file"),
    [
        (Form("csv"), "x.csv", True),
        (Form("csv"), "x.csv.gz", True),
        (Form("csv"), "mnist-1.0", False),
        (Form("csv", compress=True), "x", False),
        (Form("csv", compress=True), "x.csv", None),
        (Form("csv"), "x.txt", None),
        (Form("csv"), "x.gz", None),
        (Form("csv"), "x.parquet", None),
        (Form("parquet"), "x.parquet", True),
        (Form("parquet"), "x", False),
        (Form("parquet"), "x.csv", None),
        (Form("idx"), "x", False),
        (Form("idx"), "x.idx", None),
        (Form("png"), "x.png", None),
    ],
)
def test_a_name_says_whether_it_is_one_file(form: Form, name: str, one_file: bool | None) -> None:
    if one_file is None:
        with pytest.raises(ConfigError) as caught:
            form.is_one_file(Path(name))
        assert "call it x" in caught.value.remedy
    else:
        assert form.is_one_file(Path(name)) is one_file


def test_the_command_offers_what_there_is() -> None:
    command = importlib.import_module("mnist_pipeline.cli.data")
    assert command.FORMATS == FORMATS
    assert tuple(LAYOUTS) == command.LAYOUTS
    for name in (*FORMATS, *LAYOUTS):
        assert f"  {name} " in command.OUTPUTS
