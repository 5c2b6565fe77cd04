"""MNIST as on Hugging Face's hub (`ylecun/mnist`): PNGs in structs, split files, features."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mnist_pipeline.contract.spec import ImageContract
from mnist_pipeline.sources.parquet import Parquet
from mnist_pipeline.store.objects import Store

FEATURES = {
    "info": {
        "features": {
            "image": {"_type": "Image"},
            "label": {"names": [str(n) for n in range(10)], "_type": "ClassLabel"},
        }
    }
}


def write_split(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """A split of the data set, with the schema that the hub's file has."""
    pictures = []
    for image in images:
        sink = io.BytesIO()
        Image.fromarray(image.reshape(28, 28)).save(sink, "PNG")
        pictures.append({"bytes": sink.getvalue(), "path": None})
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
        ],
        metadata={"huggingface": json.dumps(FEATURES)},
    )
    columns = {"image": pictures, "label": labels.tolist()}
    pq.write_table(pa.Table.from_pydict(columns, schema), path, row_group_size=100)


@pytest.fixture
def hub(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """The folder `mnist` of the data set: 400 training and 200 test rows."""
    images, labels = digits
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_split(folder / "train-00000-of-00001.parquet", images[:400], labels[:400])
    write_split(folder / "test-00000-of-00001.parquet", images[400:], labels[400:])
    return folder


def test_every_row_is_read_as_it_is(hub: Path, digits) -> None:
    images, labels = digits
    parts = Parquet(str(hub)).parts()
    assert [part.role for part in parts] == ["train", "exam"]
    found = [list(part.read(ImageContract())) for part in parts]
    for records, rows in zip(found, (slice(0, 400), slice(400, 600)), strict=True):
        assert np.array_equal(np.concatenate([r.images for r in records]), images[rows])
        assert np.array_equal(np.concatenate([r.labels for r in records]), labels[rows])
        assert not any(r.rejects for r in records)


def test_a_file_alone_has_the_same_role(hub: Path) -> None:
    (part,) = Parquet(str(hub / "test-00000-of-00001.parquet")).parts()
    assert part.role == "exam"
    (hub / "test.parquet").write_bytes((hub / "test-00000-of-00001.parquet").read_bytes())
    (part,) = Parquet(str(hub / "test.parquet")).parts()
    assert part.role == "train"


def test_the_test_split_is_the_exam(train, hub: Path, idx_folder: Path, workspace: Path) -> None:
    result = train(f"parquet:{hub}")
    assert result.outcome.metrics["n"] == 200
    assert (result.dataset["rows"], result.dataset["accepted"]) == (600, 600)
    # The same pictures as IDX files give the same exam: nothing about them is lost.
    manifests = [json.loads(p.read_bytes()) for p in workspace.glob("models/*/exam.json")]
    train(f"idx:{idx_folder}", "name=other")
    both = {json.loads(p.read_bytes())["digest"] for p in workspace.glob("models/*/exam.json")}
    assert len(manifests) == len(both) == 1
    assert Store.open(workspace).children("models") == ["digits", "other"]
