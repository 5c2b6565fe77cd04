"""docs/kaggle-and-hugging-face.md as it stands: its commands run, its Python answers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.data.png import png_bytes

PAGE = Path(__file__).parents[1] / "docs" / "kaggle-and-hugging-face.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```\n", re.DOTALL)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Any) -> None:
    images, labels = digits
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_PIPELINE_WORKSPACE", str(tmp_path / "workspace"))
    head = ",".join(f"pixel{n}" for n in range(784))
    rows = [",".join(map(str, image)) for image in images.tolist()]
    named = [f"{label},{row}" for label, row in zip(labels, rows, strict=True)]
    Path("train.csv").write_text("\n".join([f"label,{head}", *named]))
    Path("test.csv").write_text("\n".join([head, *rows[:50]]))
    Path("mnist").mkdir()
    for split, part in (("train", slice(0, 400)), ("test", slice(400, 600))):
        pictures = [
            {"bytes": png_bytes(image.reshape(28, 28)), "path": None} for image in images[part]
        ]
        table = pa.table({"image": pictures, "label": labels[part].astype("int64")})
        pq.write_table(table, f"mnist/{split}-00000-of-00001.parquet")
    names: dict[str, Any] = {}
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "python":
            exec(text, names)
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line)
            assert (program, main(words)) == ("mnist-pipeline", 0), line
    assert len(Path("submission.csv").read_text().splitlines()) == 51
    assert len(names["labels"]) == 3
    assert 'license: "mit"' in Path("digits-hub/README.md").read_text(encoding="utf-8")
