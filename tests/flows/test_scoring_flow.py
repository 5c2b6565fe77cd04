"""The scoring flow on a real (temporary) Prefect server, on threads and on a real Dask cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.errors import DataError
from mnist_pipeline.reporting import Silent
from mnist_pipeline.score.answers import Answers
from mnist_pipeline.score.options import ScoreOptions
from mnist_pipeline.store.bundles import load_model

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]

SLICE_ROWS = 250
FILES = {"big.parquet": 8000, "year=2024/small.parquet": 90, "year=2025/small.parquet": 60}


@pytest.fixture
def champion(train: Any, idx_folder: Path, workspace: Path) -> Path:
    """A workspace with `digits@1`, champion."""
    assert train(f"idx:{idx_folder}").outcome.status == "promoted"
    return workspace


@pytest.fixture
def inputs(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """A folder with a file of 32 slices and two that fit into one; `key` says which digit."""
    rng = np.random.default_rng(3)
    for name, rows in FILES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = rng.integers(0, 600, rows)
        images = pa.array([image.tobytes() for image in digits[0][keys]], pa.binary(784))
        pq.write_table(pa.table({"key": keys, "image": images}), path, row_group_size=SLICE_ROWS)
    return tmp_path / "in"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def run(champion: Path, inputs: Path, output: Path) -> Callable[..., Any]:
    """Runs the flow on the inputs in small slices, each row's `key` carried."""

    def run_flow(**changes: Any) -> Any:
        from flows.scoring import run_scoring_flow

        settings: dict[str, Any] = {
            "model": None,
            "options": ScoreOptions(id_column="key"),
            "workspace": str(champion),
            "slice_rows": SLICE_ROWS,
            "dask": None,
            "workers": None,
            "reporter": Silent(),
        }
        return run_scoring_flow([str(inputs)], str(output), **settings | changes)

    return run_flow


def newest_run() -> Any:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def shown_by(flow_run: Any) -> str:
    """The Markdown of a run's artifact."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        (shown,) = [a for a in client.read_artifacts() if a.flow_run_id == flow_run.id]
    assert shown.key == "digits-scoring"
    return str(shown.data)


def check_every_row_once(inputs: Path, output: Path, champion: Path, digits: Any) -> None:
    model = load_model("digits", champion)
    for name, rows in FILES.items():
        keys = pq.read_table(inputs / name, partitioning=None)["key"].to_numpy()
        told = pq.read_table(output / name, partitioning=None)
        assert told["row_id"].to_pylist() == list(range(rows))
        assert told["key"].to_pylist() == keys.tolist()
        assert told["label"].to_pylist() == model.predict(digits[0][keys]).labels.tolist()
    manifest = json.loads((output / "_manifest.json").read_text())
    assert manifest["rows"] == manifest["scored"] == sum(FILES.values())
    assert not (output / ".slices").exists()
    assert not list((output / ".scratch").iterdir())


def test_both_engines_give_the_same(
    champion: Path, inputs: Path, digits: Any, tmp_path: Path, capsys: Any
) -> None:
    told = {}
    for engine in ("plain", "prefect"):
        words = ["score", str(inputs), "--output", str(tmp_path / engine), "--id-column", "key"]
        words += ["--workspace", str(champion), "--json", "--engine", engine]
        assert main(words) == 0
        told[engine] = json.loads(capsys.readouterr().out)
        assert told[engine].pop("output") == str(tmp_path / engine)
        told[engine].pop("seconds")
        check_every_row_once(inputs, tmp_path / engine, champion, digits)
    assert told["plain"] == told["prefect"]


def test_small_files_share_a_task_and_large_ones_are_cut(run: Any) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    assert run().tally.rows == sum(FILES.values())
    flow_run = newest_run()
    assert flow_run.state_name == "Completed"
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    slices = [f"score big.parquet {number}/32" for number in range(1, 33)]
    expected = [*slices, "score year=2024/small.parquet and 1 more", "assemble big.parquet"]
    expected += ["find files", "verify model", "plan", "plan", "plan", "manifest"]

    def names() -> list[str]:
        with get_client(sync_client=True) as client:
            return [run.name for run in client.read_task_runs(flow_run_filter=mine, limit=200)]

    wait_for(lambda: sorted(names()) == sorted(expected))  # the server learns of them by and by
    assert "digits@1: 8,150 rows: 8,150 scored" in shown_by(newest_run())


def test_a_bad_file_fails_the_run_after_the_others_were_scored(
    run: Any, inputs: Path, output: Path
) -> None:
    (inputs / "broken.parquet").write_bytes(b"PAR1 nothing of the kind")
    pq.write_table(pa.table({"key": [1], "words": ["seven"]}), inputs / "words.parquet")
    wide = pa.table({"key": [1] * 600, "image": pa.array([bytes(1024)] * 600)})
    pq.write_table(wide, inputs / "wide.parquet", row_group_size=SLICE_ROWS)
    bad = ["broken.parquet", "wide.parquet", "words.parquet"]
    summary = run()
    assert [failure.file for failure in summary.failures] == bad
    assert summary.error.exit_code == 3
    assert summary.tally.scored == sum(FILES.values())
    state = newest_run().state
    assert state.name == "Failed"
    assert "3 of 6 files could not be scored" in state.message
    assert "| `broken.parquet` | broken.parquet is damaged" in shown_by(newest_run())

    summary = run(options=ScoreOptions(id_column="key", on_bad_file="skip"))
    assert (summary.error, len(summary.skipped), len(summary.failures)) == (None, 3, 3)
    assert newest_run().state.name == "Completed"

    with pytest.raises(DataError, match="broken"):
        run(options=ScoreOptions(id_column="key", on_bad_file="fail"))
    assert newest_run().state.name == "Failed"


def test_a_killed_flow_is_taken_up_where_it_was(
    run: Any, inputs: Path, output: Path, champion: Path, digits: Any, monkeypatch: Any
) -> None:
    from prefect.settings import PREFECT_API_URL

    script = """if True:
        import os, signal, sys
        from mnist_pipeline.reporting import Silent
        from mnist_pipeline.score.options import ScoreOptions
        from mnist_pipeline.store.objects import Store
        from flows.scoring import run_scoring_flow

        def count(store, operation, key, seen=[]):
            seen += [key] if operation == "put" and key.startswith(".slices/") else []
            if len(seen) == 9:
                os.kill(os.getpid(), signal.SIGKILL)

        Store._called = count
        run_scoring_flow(
            [sys.argv[1]], sys.argv[2], model=None, options=ScoreOptions(id_column="key"),
            workspace=sys.argv[3], slice_rows=int(sys.argv[4]), dask=None, workers=1,
            reporter=Silent(),
        )
    """
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    words = [str(inputs), str(output), str(champion), str(SLICE_ROWS)]
    killed = subprocess.run([sys.executable, "-c", script, *words], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((output / ".slices").glob("*/*.parquet"))) == 9

    answered = []
    answer = Answers.answer

    def counting(self: Answers, batch: pa.RecordBatch, first_row: int) -> Any:
        answered.append(len(batch))
        return answer(self, batch, first_row)

    monkeypatch.setattr(Answers, "answer", counting)
    assert run().tally.rows == sum(FILES.values())
    assert sum(answered) == sum(FILES.values()) - 9 * SLICE_ROWS
    check_every_row_once(inputs, output, champion, digits)
    assert len(run().skipped) == len(FILES)
    assert sum(answered) == sum(FILES.values()) - 9 * SLICE_ROWS


def test_an_interrupted_flow_says_so_and_goes_on_later(
    champion: Path, inputs: Path, output: Path, capsys: Any, interrupt_at: Any
) -> None:
    words = ["score", str(inputs), "--output", str(output), "--workspace", str(champion)]
    words += ["--engine", "prefect", "--json"]
    with interrupt_at("score"):
        assert main(words) == 130
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "interrupted"
    assert main(words) == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers: its address, and the workers' processes."""
    dask = [sys.executable, "-m", "dask"]
    where = tmp_path / "scheduler.json"
    processes: list[subprocess.Popen[bytes]] = []
    with (tmp_path / "dask.log").open("wb") as log:

        def start(*words: str) -> subprocess.Popen[bytes]:
            # A folder of their own: what travels to them must not depend on ours.
            folder = tmp_path / f"dask{len(processes)}"
            folder.mkdir()
            command = [*dask, *words, "--no-dashboard"]
            processes.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
            return processes[-1]

        try:
            start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(where))
            wait_for(lambda: where.exists() and where.read_text().endswith("\n}"))
            address = json.loads(where.read_text())["address"]
            workers = [start("worker", address, "--nthreads", "1", "--no-nanny") for _ in range(2)]
            yield address, workers
        finally:
            for process in processes:
                process.kill()
                process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_dask_worker_dies_and_every_row_is_there_once(
    run: Any, cluster: Any, inputs: Path, output: Path, champion: Path, digits: Any
) -> None:
    address, workers = cluster
    there_when_killed: list[int] = []

    def kill_one() -> None:
        wait_for(lambda: len(list((output / ".slices").glob("*/*.parquet"))) >= 4)
        workers[0].kill()
        workers[0].wait()
        there_when_killed.append(len(list((output / ".slices").glob("*/*.parquet"))))

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    summary = run(dask=address)
    killer.join()
    assert workers[0].returncode == -signal.SIGKILL
    assert 4 <= there_when_killed[0] < 32  # in the middle of the job
    assert summary.error is None
    assert newest_run().state.name == "Completed"
    check_every_row_once(inputs, output, champion, digits)
    assert len(run(dask=address).skipped) == len(FILES)  # with one worker, and nothing to do


def test_dask_that_is_not_there(
    champion: Path, inputs: Path, output: Path, capsys: Any, monkeypatch: Any
) -> None:
    words = ["score", str(inputs), "--output", str(output), "--workspace", str(champion), "--json"]

    def refused(*more: str) -> dict[str, Any]:
        code = main([*words, *more])
        error: dict[str, Any] = json.loads(capsys.readouterr().out)["error"]
        assert code == error["code"]
        assert not output.exists()
        return error

    assert refused("--dask", "tcp://127.0.0.1:9")["code"] == 2  # without --engine prefect
    flow = ("--engine", "prefect", "--dask")
    assert refused(*flow, "localhost")["code"] == 2
    assert refused(*flow, "tcp://127.0.0.1:9")["facts"]["address"] == "tcp://127.0.0.1:9"
    monkeypatch.setitem(sys.modules, "prefect_dask.task_runners", None)
    error = refused(*flow, "tcp://127.0.0.1:9")
    assert error["code"] == 6
    assert error["remedy"] == "pip install 'mnist-pipeline[dask]'"
