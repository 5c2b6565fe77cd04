"""The training flow on a real (temporary) Prefect server."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import SETTINGS, train_words, write_idx

from mnist_pipeline.cli import main
from mnist_pipeline.config import DataConfig
from mnist_pipeline.configfile import parse_setting, resolve
from mnist_pipeline.data.profile import Profile
from mnist_pipeline.errors import DataError
from mnist_pipeline.stages.run import STAGES
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.registry import Registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]


def config_for(folder: Path):
    layers = [parse_setting(setting) for setting in SETTINGS]
    return resolve([*layers, {"data": {"sources": [f"idx:{folder}"]}}])


def runs(kind: str) -> list:
    """The newest runs of flows or of tasks (the server tells at most 200), newest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

    newest = "EXPECTED_START_TIME_DESC"
    with get_client(sync_client=True) as client:
        if kind == "task":
            return client.read_task_runs(sort=TaskRunSort(newest))
        return client.read_flow_runs(sort=FlowRunSort(newest))


def test_a_flow_run_shows_its_stages_and_artifacts(idx_folder: Path, workspace: Path) -> None:
    from flows.training import training_flow

    result = training_flow(config_for(idx_folder), str(workspace))
    assert result.outcome.status == "promoted"

    names = [run.name for run in runs("task")]
    for stage in ("validate", "normalize", "train", "evaluate", "publish"):
        assert stage in names
    assert sum(name.startswith("ingest ") and "ubyte" in name for name in names) == 2

    artifacts = newest_artifacts()
    inputs = json.loads(artifacts["digits-inputs"])
    assert [(row["role"], row["rows"], row["rejected"]) for row in inputs] == [
        ("train", 400, 0),
        ("exam", 200, 0),
    ]
    *classes, total = json.loads(artifacts["digits-data"])
    assert [row["class"] for row in classes] == list("0123456789")
    for side, count in result.dataset["sides"].items():
        assert sum(row[side] for row in classes) == total[side] == count
    assert "digits-rejected" not in artifacts

    verdict = artifacts["digits-verdict"]
    assert "digits@1: promoted" in verdict
    for heading in ("## Classes", "## Confusion"):
        assert heading in verdict
    assert verdict.count("| **") == 10
    assert f"The whole report: `{result.report}`" in verdict
    assert Path(result.report).is_file()


def newest_artifacts() -> dict[str, str]:
    """What the UI shows for the model `digits`: the newest artifact of each key."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:
        newest_first = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
    return {artifact.key: artifact.data for artifact in reversed(newest_first)}


def test_the_pictures_are_those_of_the_training_rows(idx_folder: Path, workspace: Path) -> None:
    from flows.training import training_flow

    training_flow(config_for(idx_folder), str(workspace))
    uris = re.findall(r"\(data:image/png;base64,([^)]*)\)", newest_artifacts()["digits-pictures"])
    averages, samples = (np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))) for uri in uris)
    (path,) = workspace.glob("models/digits/versions/1/profile.json")
    profile = Profile.from_bytes(path.read_bytes())
    # twice as large, the second of a row with two pixels of space around each
    assert np.array_equal(averages[4:60:2, 64:120:2].ravel(), profile.mean_images[1])
    assert samples.any()


def test_rejected_rows_are_told_by_input_reason_and_place(
    tmp_path: Path, workspace: Path, digits
) -> None:
    from flows.training import training_flow

    images, labels = digits
    lines = [",".join(map(str, [y, *x])) for x, y in zip(images, labels, strict=True)]
    lines[3], lines[5] = "3,junk", lines[5].replace(",", ",x", 1)
    header = "label," + ",".join(f"pixel{k}" for k in range(784))
    (tmp_path / "a.csv").write_text("\n".join([header, *lines, ""]))
    source = {"data": {"sources": [f"csv:{tmp_path / 'a.csv'}"]}}
    config = resolve([*(parse_setting(setting) for setting in SETTINGS), source])
    training_flow(config, str(workspace))

    artifacts = newest_artifacts()
    (row,) = json.loads(artifacts["digits-inputs"])
    assert (row["input"], row["accepted"], row["rejected"]) == ("a.csv", 598, 2)
    assert row["reasons"] == "1 pixel_not_a_number, 1 wrong_column_count"
    places = json.loads(artifacts["digits-rejected"])
    assert [(p["source"], p["place"], p["reason"]) for p in places] == [
        ("a.csv", 5, "wrong_column_count"),
        ("a.csv", 7, "pixel_not_a_number"),
    ]


def test_a_run_that_changed_nothing_shows_its_verdict_too(
    idx_folder: Path, workspace: Path
) -> None:
    from flows.training import training_flow

    training_flow(config_for(idx_folder), str(workspace))
    assert training_flow(config_for(idx_folder), str(workspace)).outcome.status == "unchanged"
    verdict = newest_artifacts()["digits-verdict"]
    assert verdict.startswith("# digits@1: unchanged")
    assert "The whole report: " in verdict


def test_a_held_night_says_why_and_trains_nothing(
    idx_folder: Path, tmp_path: Path, workspace: Path, digits
) -> None:
    from flows.training import training_flow

    landing = tmp_path / "landing"
    landing.mkdir()
    config = config_for(idx_folder)
    specs = {"landing": [f"idx:{landing}", f"csv:{landing}/*.csv"]}
    config = config.model_copy(update={"data": config.data.model_copy(update=specs)})
    assert training_flow(config, str(workspace)).outcome.status == "promoted"
    before = runs("task")[0]

    write_idx(landing, "again", digits[0][399::-1], digits[1][399::-1])
    (landing / "empty.csv").touch()
    result = training_flow(config, str(workspace))
    assert (result.outcome.status, result.outcome.version) == ("held", None)
    assert result.outcome.reasons[0].startswith("known_rows: of again-images-idx3-ubyte 400 of 400")
    assert result.outcome.reasons[-1] == "bad_file: without empty.csv: empty.csv is empty"
    artifacts = newest_artifacts()
    assert "- known_rows: of again-images-idx3-ubyte" in artifacts["digits-verdict"]
    assert json.loads(artifacts["digits-inputs"])[-1]["reasons"] == "empty.csv is empty"
    names = [run.name for run in runs("task") if run.start_time > before.end_time]
    assert "inspect" in names
    assert "train" not in names
    assert training_flow(config, str(workspace)).outcome.status == "unchanged"


def test_inputs_are_shown_even_if_they_are_refused(tmp_path: Path, workspace: Path, digits) -> None:
    from flows.training import training_flow

    header = "label," + ",".join(f"pixel{k}" for k in range(784))
    (tmp_path / "bad.csv").write_text(f"{header}\njunk\n")
    config = config_for(tmp_path).model_copy(
        update={"data": DataConfig(sources=[f"csv:{tmp_path / 'bad.csv'}"])}
    )
    with pytest.raises(DataError):
        training_flow(config, str(workspace))
    (row,) = json.loads(newest_artifacts()["digits-inputs"])
    assert (row["input"], row["accepted"], row["rejected"]) == ("bad.csv", 0, 1)


def test_both_engines_give_the_same(idx_folder: Path, tmp_path: Path, capsys) -> None:
    answers = {}
    for engine in ("plain", "prefect"):
        assert main(train_words(idx_folder, tmp_path / engine, engine)) == 0
        answers[engine] = json.loads(capsys.readouterr().out)
    for key in ("status", "reasons", "metrics", "dataset", "version"):
        assert answers["plain"][key] == answers["prefect"][key], key


@pytest.mark.parametrize("engines", [("plain", "prefect"), ("prefect", "plain")])
def test_one_engine_takes_up_what_the_other_began(
    engines: tuple[str, str], idx_folder: Path, workspace: Path, capsys, interrupt_at
) -> None:
    with interrupt_at("evaluate"):
        assert main(train_words(idx_folder, workspace, engines[0])) == 130
    capsys.readouterr()
    assert main(train_words(idx_folder, workspace, engines[1])) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["status"] == "promoted"
    reused = [line.split()[0] for line in output.err.splitlines() if line.endswith("reused")]
    assert reused == ["ingest", "ingest", "normalize", "train"]


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(stage: str, idx_folder: Path, workspace: Path, capsys, interrupt_at) -> None:
    with interrupt_at(stage):
        assert main(train_words(idx_folder, workspace, "prefect")) == 130
    output = capsys.readouterr()
    assert json.loads(output.out)["error"]["code"] == 130
    assert not list(workspace.rglob("manifest.json"))
    assert Registry(Store.open(workspace)).names() in ([], ["digits"])


def test_bad_data_fails_the_flow_with_its_own_error(idx_folder: Path, workspace: Path) -> None:
    from flows.training import training_flow

    (idx_folder / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError):
        training_flow(config_for(idx_folder), str(workspace))
    newest = max(runs("flow"), key=lambda run: run.expected_start_time)
    assert newest.state_name == "Failed"
    assert not (workspace / "models").exists()


def test_bad_data_on_the_command_line_shows_no_traceback(
    idx_folder: Path, workspace: Path, capfd
) -> None:
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(b"")
    assert main(train_words(idx_folder, workspace, "prefect")) == 3
    output = capfd.readouterr()
    assert json.loads(output.out)["error"]["code"] == 3
    assert "Traceback" not in output.err


def test_the_configuration_is_a_form() -> None:
    from flows.training import training_flow

    schema = training_flow.parameters.model_dump()
    sections = schema["definitions"]["Config"]["properties"]
    assert {"name", "data", "normalize", "model", "train", "gate", "publish"} <= set(sections)
    recipe = schema["definitions"]["Recipe"]["properties"]
    assert recipe["learning_rate"]["description"]
    assert recipe["optimizer"]["enum"] == ["sgd", "momentum", "adam", "adamw"]


def test_only_transient_errors_are_retried(idx_folder: Path, workspace: Path, monkeypatch) -> None:
    from prefect import flow

    from flows.tasks import ingest_task
    from mnist_pipeline.errors import OutsideError

    calls = {"transient": 0, "final": 0}

    def failing(kind: str) -> None:
        calls[kind] += 1
        if calls[kind] < 2 or kind == "final":
            raise OutsideError("away", transient=kind == "transient")

    retried = ingest_task.with_options(retry_delay_seconds=0)
    retried.fn = failing

    @flow
    def try_it(kind: str) -> None:
        retried(kind)

    retried.task_run_name = "try"
    try_it("transient")
    with pytest.raises(OutsideError):
        try_it("final")
    assert calls == {"transient": 2, "final": 1}


def test_a_server_that_is_not_there(idx_folder: Path, workspace: Path, capfd) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    for url in ("http://127.0.0.1:9/api", "garbage"):
        with temporary_settings({PREFECT_API_URL: url}):
            assert main(train_words(idx_folder, workspace, "prefect")) == 6
        output = capfd.readouterr()
        error = json.loads(output.out)["error"]
        assert error["facts"]["url"] == url
        assert "--engine plain" in error["remedy"]
        assert "Traceback" not in output.err


def test_a_picture_that_cannot_be_hung_fails_nothing(
    idx_folder: Path, workspace: Path, capsys, monkeypatch
) -> None:
    def failing(*_, **__) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr("flows.artifacts.create_markdown_artifact", failing)
    monkeypatch.setattr("flows.artifacts.create_table_artifact", failing)
    assert main(train_words(idx_folder, workspace, "prefect")) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "promoted"
