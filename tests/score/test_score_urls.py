"""Inputs and outputs in a bucket: moto's S3 server, reached as a user's commands reach it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from score_samples import write
from score_zygote import score as score_small

from mnist_pipeline.cli import main
from mnist_pipeline.errors import DataError
from mnist_pipeline.score.inputs import find_inputs
from mnist_pipeline.score.job import find_model, make_job
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.score.slices import plan_file, score_slice
from mnist_pipeline.store.objects import Store

pytestmark = pytest.mark.integration

FILES = {"big.parquet": 400, "year=2024/a b+c.parquet": 30, "year=2025/ü.parquet": 20}
SLICE_ROWS = 50


@pytest.fixture
def inputs(tmp_path: Path, digits: Any) -> Path:
    """A folder with a file of eight slices and two small ones; `key` says which digit."""
    rng = np.random.default_rng(1)
    for name, rows in FILES.items():
        keys = rng.integers(0, 600, rows)
        write(tmp_path / "in" / name, digits[0][keys], row_group=SLICE_ROWS, key=keys)
    return tmp_path / "in"


def upload(folder: Path, url: str) -> None:
    store = Store.open(url)
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())


def objects(url: str) -> dict[str, bytes]:
    """Everything below a URL or in a folder, by key."""
    store = Store.open(url)
    return {info.key: store.get(info.key) for info in store.list("")}


def tables(where: Path | str) -> dict[str, list[dict[str, Any]]]:
    """The answers below a URL or in a folder."""
    told = {}
    store = Store.open(where)
    for info in store.list(""):
        if info.key.endswith(".parquet"):
            with store.local(info.key) as path:
                told[info.key] = pq.read_table(path, partitioning=None).to_pylist()
    return told


def job_for(scorer: Path, output: str) -> Any:
    store = Store.open(scorer, writable=False)
    manifest, _ = find_model(store, None)
    return make_job(store, manifest, output, ScoreOptions(id_column="key"), slice_rows=SLICE_ROWS)


@pytest.mark.parametrize("to_url", [True, False], ids=["to a URL", "to a folder"])
@pytest.mark.parametrize("from_url", [True, False], ids=["from a URL", "from a folder"])
def test_the_same_answers_wherever_files_lie(
    from_url: bool, to_url: bool, score: Any, inputs: Path, bucket: str, output: Path
) -> None:
    upload(inputs, f"{bucket}/in")
    where = f"{bucket}/in/" if from_url else str(inputs)
    to = f"{bucket}/out" if to_url else str(output)
    words = ["--id-column", "key", "--top-k", "2"]
    code, data = score(where, *words, to=to)
    assert (code, data["files"], data["rows"], data["scored"]) == (0, 3, 450, 450)
    assert data["output"] == to
    assert score(inputs, *words, to=inputs / "expected")[0] == 0
    assert tables(to) == tables(inputs / "expected")
    assert tables(to)["year=2024/a b+c.parquet"][0]["year"] == "2024"

    before = objects(to)
    manifest, expected = (
        json.loads(Store.open(place).get("_manifest.json")) for place in (to, inputs / "expected")
    )
    del manifest["created"], expected["created"]
    assert manifest == expected
    code, data = score(where, *words, to=to)
    assert (code, data["skipped_files"]) == (0, sorted(FILES))
    assert data["rows"] == 450
    after = objects(to)
    assert before.keys() == after.keys()
    assert all(after[key] == before[key] for key in FILES)


def test_an_answer_in_a_bucket_is_explained(
    score: Any, scorer: Path, inputs: Path, bucket: str, capsys: Any
) -> None:
    score(inputs, to=f"{bucket}/out")
    for name, code in (("big.parquet", 0), ("_manifest.json", 3), ("nothing.parquet", 3)):
        words = ["explain", f"{bucket}/out/{name}", "--workspace", str(scorer), "--json"]
        assert main(words) == code
        told = json.loads(capsys.readouterr().out)
        assert told["rows"] == 400 if code == 0 else told["error"]["remedy"]


def test_a_model_in_a_bucket(score: Any, scorer: Path, inputs: Path, bucket: str) -> None:
    upload(scorer, f"{bucket}/ws")
    code, data = score(inputs, to=f"{bucket}/out", workspace=f"{bucket}/ws")
    assert (code, data["scored"]) == (0, 450)
    upload(inputs, f"{bucket}/in")
    code, data = score(bucket, to=f"{bucket}/all", workspace=f"{bucket}/ws/")
    assert (code, data["files"]) == (0, 3)  # what lies in the workspace is no input
    assert score(f"{bucket}/ws", to=f"{bucket}/no", workspace=f"{bucket}/ws")[0] == 2
    assert score(inputs, to=f"{bucket}/ws/models/x", workspace=f"{bucket}/ws")[0] == 2


def test_single_objects_patterns_and_several_inputs(
    score: Any, inputs: Path, bucket: str, output: Path
) -> None:
    upload(inputs, f"{bucket}/in")
    Store.open(bucket).put("in/.hidden.parquet", b"x")
    Store.open(bucket).put("in/_old/b.parquet", b"x")
    Store.open(bucket).put("in/readme.txt", b"x")
    for spec, files in {
        f"{bucket}/in/big.parquet": ["big.parquet"],
        f"{bucket}/in/year=*/*.parquet": ["year=2024/a b+c.parquet", "year=2025/ü.parquet"],
        f"{bucket}/in/year=2024": ["a b+c.parquet"],
        bucket: [f"in/{name}" for name in FILES],
    }.items():
        code, data = score(spec, to=output / str(len(spec)))
        assert (code, data["files"]) == (0, len(files))
        assert sorted(tables(output / str(len(spec)))) == files
    local = write(inputs.parent / "local.parquet", np.zeros((3, 784), np.uint8))
    assert score(f"{bucket}/in/big.parquet", local, to=output / "both")[1]["rows"] == 403


def test_answers_in_the_bucket_of_the_input_are_no_input(
    score: Any, inputs: Path, bucket: str
) -> None:
    upload(inputs, f"{bucket}/in")
    for name in ("answers", "in/answers", "answers"):
        code, data = score(bucket, to=f"{bucket}/{name}")
        assert (code, data["files"], data["rows"]) == (0, 3, 450)


def test_bad_files_and_rows_in_a_bucket(score: Any, bucket: str, tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"image": pa.array([bytes(784), None])}), tmp_path / "rows.parquet")
    store = Store.open(f"{bucket}/in")
    store.put("rows.parquet", (tmp_path / "rows.parquet").read_bytes())
    store.put("cut.parquet", (tmp_path / "rows.parquet").read_bytes()[:-20])
    store.put("empty.parquet", b"")
    code, data = score(f"{bucket}/in", "--on-bad-row", "quarantine", to=f"{bucket}/out")
    assert (code, data["rows"], data["rejected"]) == (3, 2, {"image_missing": 1})
    assert [failed["file"] for failed in data["failed_files"]] == ["cut.parquet", "empty.parquet"]
    assert all("damaged" in failed["reason"] for failed in data["failed_files"])
    assert tables(f"{bucket}/out/_quarantine")["rows.parquet"][0]["place"] == 1


def test_places_that_are_not_there(
    score: Any, inputs: Path, bucket: str, output: Path, monkeypatch: Any
) -> None:
    nowhere = f"{bucket}-and-not"
    for words, to, code in (
        ([f"{bucket}/nothing"], output, 3),
        ([f"{bucket}/nothing/*.parquet"], output, 3),
        ([nowhere], output, 6),
        ([inputs], f"{nowhere}/out", 6),
    ):
        exit_code, data = score(*words, to=to)
        assert exit_code == code
        error = data["error"]
        assert "workspace" not in json.dumps(error)
        assert (nowhere in json.dumps(error["facts"])) == (code == 6)
        assert not output.exists()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, data = score(inputs, to=f"{bucket}/out")
    assert code == 6
    assert data["error"]["facts"]["output"] == f"{bucket}/out"
    assert "URL" in data["error"]["remedy"]


def test_an_output_that_holds_something_else(score: Any, inputs: Path, bucket: str) -> None:
    upload(inputs, f"{bucket}/in")
    before = objects(bucket)
    code, data = score(inputs, to=f"{bucket}/in")
    assert code == 2
    assert "big.parquet" in data["error"]["facts"]["found"]
    assert objects(bucket) == before


@pytest.mark.parametrize("place", ["bucket", "folder"])
def test_a_file_that_changes_meanwhile_is_a_failed_file(
    place: str, scorer: Path, inputs: Path, bucket: str, output: Path, digits: Any, tmp_path: Path
) -> None:
    where = f"{bucket}/in" if place == "bucket" else str(inputs)
    if place == "bucket":
        upload(inputs, where)
    job = job_for(scorer, str(output))
    file = next(f for f in find_inputs([where]) if f.relative == "big.parquet")
    plan = plan_file(job, file)
    score_slice(job, plan, 0)
    other = write(tmp_path / "other.parquet", digits[0][:400], row_group=SLICE_ROWS)
    Store.open(where).put("big.parquet", other.read_bytes())
    with pytest.raises(DataError, match=r"big\.parquet was changed while it was scored"):
        score_slice(job, plan, 1)
    Store.open(where).delete("big.parquet")
    with pytest.raises(DataError, match=r"big\.parquet does not exist"):
        score_slice(job, plan, 1)


def test_killed_in_a_bucket_and_taken_up_again(
    scorer: Path, inputs: Path, bucket: str, tmp_path: Path, monkeypatch: Any
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    upload(inputs, f"{bucket}/in")
    assert score_small(str(scorer), f"{bucket}/in", f"{bucket}/whole") == "450 rows, 0 failed"
    expected = tables(f"{bucket}/whole")

    script = "import sys, score_zygote as z; z.score_until(int(sys.argv[1]), *sys.argv[2:])"
    environment = os.environ | {"TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(sys.path)}
    for call in (6, 15, 25, 35, 45):
        to = f"{bucket}/killed-{call}"
        command = [sys.executable, "-c", script, str(call), str(scorer), f"{bucket}/in", to]
        killed = subprocess.run(command, env=environment, check=False)
        assert killed.returncode == -signal.SIGKILL
        for key, rows in tables(to).items():  # what is visible is whole
            assert key.startswith(".slices/") or rows == expected[key]
        assert score_small(str(scorer), f"{bucket}/in", to) == "450 rows, 0 failed"
        assert tables(to) == expected  # and no slices besides
        assert not list(scratch.iterdir())  # nor what the dead process had fetched
