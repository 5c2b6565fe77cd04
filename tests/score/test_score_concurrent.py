"""Two scorers at once in one folder: every file of answers is whole, and somebody's."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from score_zygote import score as score_small
from score_zygote import wrong_with

from mnist_pipeline.score.outputs import record_of
from mnist_pipeline.store.objects import Store

pytestmark = pytest.mark.integration

ROUNDS = 15
WHOLE = "260 rows, 0 failed"
RUNNER = """
import json, sys
from mnist_pipeline.errors import PipelineError
from score_zygote import score

workspace, folder, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = score(workspace, folder, line.strip(), **options)
    except PipelineError as error:
        answer = f"exit {error.exit_code}: {error.headline}"
    print(json.dumps(answer), flush=True)
"""

Pair = Callable[[str], list[str]]


@pytest.fixture
def inputs(tmp_path: Path, digits: Any) -> Path:
    """A folder with files of four slices, of one, and one with a bad row."""
    images = [image.tobytes() for image in digits[0]]
    images[405] = None
    for name, start, rows in (("a", 0, 200), ("b", 300, 20), ("k=1/c", 400, 40)):
        table = pa.table({"image": pa.array(images[start : start + rows], pa.binary())})
        path = tmp_path / "in" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=30)
    return tmp_path / "in"


@contextlib.contextmanager
def pair(workspace: Path, folder: str, *options: dict[str, Any]) -> Iterator[Pair]:
    """Two processes that score the same folder, at the same moment, as often as they are told."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    scorers = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER, str(workspace), folder, json.dumps(one)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in options
    ]

    def both(output: str) -> list[str]:
        for scorer in scorers:
            scorer.stdin.write(f"{output}\n")
            scorer.stdin.flush()
        return [json.loads(scorer.stdout.readline()) for scorer in scorers]

    try:
        assert [scorer.stdout.readline() for scorer in scorers] == ["ready\n"] * len(scorers)
        yield both
    finally:
        for scorer in scorers:
            scorer.communicate()


def test_the_same_job_twice_at_once(scorer: Path, inputs: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    assert score_small(str(scorer), str(inputs), expected) == WHOLE
    with pair(scorer, str(inputs), {}, {}) as both:
        for number in range(ROUNDS):
            output = tmp_path / f"out{number}"
            assert both(str(output)) == [WHOLE, WHOLE]
            assert wrong_with(output, expected) == []
            manifest = json.loads((output / "_manifest.json").read_text())
            assert (manifest["rows"], manifest["scored"]) == (260, 259)
            assert not list(output.glob(".scratch/*"))


def test_the_same_job_twice_at_once_in_a_bucket(
    scorer: Path, inputs: Path, tmp_path: Path, bucket: str
) -> None:
    score_small(str(scorer), str(inputs), tmp_path / "expected")
    with pair(scorer, str(inputs), {}, {}) as both:
        for number in range(3):
            assert both(f"{bucket}/out{number}") == [WHOLE, WHOLE]
            store = Store.open(f"{bucket}/out{number}")
            for info in store.list(""):
                path = tmp_path / f"copy{number}" / info.key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(store.get(info.key))
            assert wrong_with(tmp_path / f"copy{number}", tmp_path / "expected") == []


def test_two_different_jobs_at_once(scorer: Path, inputs: Path, tmp_path: Path) -> None:
    """Who finds that others replaced its answers says so, with exit code 3."""
    asked: list[dict[str, Any]] = [{"top_k": 2}, {"probabilities": True}]
    answers: dict[tuple[str, str], Any] = {}  # by file and key
    for number, options in enumerate(asked):
        folder = tmp_path / f"expected{number}"
        score_small(str(scorer), str(inputs), folder, **options)
        for path in folder.rglob("*.parquet"):
            if record := record_of(path):
                answers[str(path.relative_to(folder)), record.key] = pq.read_table(path)
    assert len(answers) == 6
    with pair(scorer, str(inputs), *asked) as both:
        for number in range(ROUNDS):
            output = tmp_path / f"out{number}"
            for told in both(str(output)):
                assert told == WHOLE or told.startswith("exit 3: the answers to ")
            found = {}
            for name in ("a.parquet", "b.parquet", "k=1/c.parquet"):
                record = record_of(output / name)
                assert record
                found[name] = record.key
                assert pq.read_table(output / name) == answers[name, record.key]
            assert not (output / ".slices").exists() or len(set(found.values())) > 1
            # Whoever comes alone afterwards has all of its answers.
            assert score_small(str(scorer), str(inputs), output, **asked[0]) == WHOLE
            assert wrong_with(output, tmp_path / "expected0") == []
