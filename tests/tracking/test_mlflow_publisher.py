"""A version on a real MLflow server: all of it, once, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_pipeline.cli import main
from mnist_pipeline.errors import OutsideError
from mnist_pipeline.store.bundles import load_model
from mnist_pipeline.store.objects import Store
from mnist_pipeline.store.publishers import FinishedVersion
from mnist_pipeline.store.registry import Registry
from mnist_pipeline.testing import check_publisher
from mnist_pipeline.testing.publishers import small_version
from mnist_pipeline.tracking import entries
from mnist_pipeline.tracking.publisher import Mlflow

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    # What MLflow says of its own code when it is imported, and of a server's file descriptors.
    pytest.mark.filterwarnings("ignore"),
]

TO = ("publish.to=mlflow",)


class Seen:
    """What is on a server, by MLflow's own client."""

    def __init__(self, url: str) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # `alone` takes it away again
        from mlflow import MlflowClient

        self.url = url
        self.client = MlflowClient(url, url)

    def runs(self, experiment: str) -> list[Any]:
        found = self.client.get_experiment_by_name(experiment)
        return list(self.client.search_runs([found.experiment_id])) if found else []

    def models(self, experiment: str) -> list[Any]:
        found = self.client.get_experiment_by_name(experiment)
        return list(self.client.search_logged_models([found.experiment_id])) if found else []

    def versions(self, name: str) -> dict[str, int]:
        """Our versions, as the tags have them, and MLflow's numbers for them."""
        found = self.client.search_model_versions(f"name = '{name}'")
        assert len({v.tags["mnist_pipeline.version"] for v in found}) == len(found)
        return {v.tags["mnist_pipeline.version"]: int(v.version) for v in found}

    def champion(self, name: str) -> str | None:
        """Our version that the alias points at."""
        alias = self.client.get_registered_model(name).aliases.get("champion")
        if alias is None:
            return None
        return str(self.client.get_model_version(name, alias).tags["mnist_pipeline.version"])


@pytest.fixture
def seen(tracking_server: Any) -> Seen:
    return Seen(tracking_server.url)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A model's name for each test: they share a server."""
    return request.node.name.partition("[")[0].replace("_", "-")[:60]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    line = [sys.executable, "-m", "mnist_pipeline.cli", *words]
    script = "import sys; from mnist_pipeline.cli import main; sys.exit(main())"
    line[1:3] = ["-c", script]
    return subprocess.run(line, capture_output=True, text=True)


def test_all_of_a_version_is_there_and_answers_the_same(
    train, idx_folder, workspace, digits, seen, name, tmp_path
) -> None:
    settings = (*TO, f"publish.mlflow.uri={seen.url}", f"name={name}", "train.epochs=3")
    (told,) = train(f"idx:{idx_folder}", *settings).published
    assert told.error is None
    manifest = Registry(Store.open(workspace)).find(name)

    (run,) = seen.runs(name)
    assert (run.info.run_name, run.info.status) == (f"{name}@1", "FINISHED")
    assert run.data.tags["mnist_pipeline.run"] == manifest.run
    assert run.data.tags["mnist_pipeline.run_key"] == manifest.run_key
    assert run.data.tags["mnist_pipeline.verdict"] == "promote"
    assert run.data.tags["mnist_pipeline.code"] == manifest.code
    assert run.data.params == entries.parameters(manifest)
    for metric in ("accuracy", "log_loss", "ece", "n"):
        assert run.data.metrics[metric] == manifest.metrics[metric]
    history = json.loads(Store.open(workspace).get(manifest.files["history.json"].key))
    curve = seen.client.get_metric_history(run.info.run_id, "training/loss")
    assert [(m.step, m.value) for m in curve] == [(row["step"], row["loss"]) for row in history]
    assert len(curve) == 3
    for file in ("report.html", "manifest.json"):
        path = seen.client.download_artifacts(run.info.run_id, file, str(tmp_path))
        published = workspace / "models" / name / "versions" / "1" / file
        assert Path(path).read_bytes() == published.read_bytes()

    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(seen.url)
    assert told.where == f"{seen.url}/#/models/{name}/versions/{seen.versions(name)[f'{name}@1']}"
    loaded = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 784)
    assert len(loaded.input_example) == 2
    images, expected = digits[0], load_model(name, workspace).predict(digits[0])
    for given in (images, pd.DataFrame(images)):
        answers = loaded.predict(given)
        assert np.array_equal(answers["label"], expected.labels)
        assert np.array_equal(answers["confidence"], expected.confidences)
        assert np.array_equal(answers.filter(like="probability_"), expected.probabilities)


def test_the_same_version_twice_exists_once_and_json_stays_clean(
    train, idx_folder, workspace, seen, name
) -> None:
    train(f"idx:{idx_folder}", f"name={name}")
    words = ["models", "publish", name, "--to", "mlflow", "--workspace", str(workspace)]
    first = command(*words, "--set", f"uri={seen.url}", "--json")
    again = command(*words, "--json")  # where it is to go is known by now
    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert seen.versions(name) == {f"{name}@1": 1}
    assert (len(seen.runs(name)), len(seen.models(name))) == (1, 1)


def test_the_alias_goes_where_the_champion_is(
    train, idx_folder, workspace, seen, name, capsys
) -> None:
    settings = (*TO, f"publish.mlflow.uri={seen.url}", f"name={name}")
    held = train(f"idx:{idx_folder}", *settings, "publish.promote=false")
    assert held.published[0].ok
    assert seen.champion(name) is None
    (run,) = seen.runs(name)
    assert run.data.tags["mnist_pipeline.verdict"] == "promote"  # the gate's; nobody promoted it
    blocked = train(f"idx:{idx_folder}", *settings, "gate.min_accuracy=0.999")
    assert (blocked.outcome.status, blocked.published[0].ok) == ("blocked", True)
    assert seen.champion(name) is None
    assert set(seen.versions(name)) == {f"{name}@1", f"{name}@2"}

    there = ["--workspace", str(workspace), "--json"]
    assert main(["models", "promote", f"{name}@1", "--reason", "good enough", *there]) == 0
    assert json.loads(capsys.readouterr().out)["published"][0]["ok"] is True
    assert seen.champion(name) == f"{name}@1"
    assert main(["models", "promote", f"{name}@2", "--reason", "better still", *there]) == 0
    assert seen.champion(name) == f"{name}@2"
    assert main(["models", "rollback", name, *there]) == 0
    assert seen.champion(name) == f"{name}@1"
    assert len(seen.versions(name)) == 2


def test_a_server_that_is_down_stops_nothing_and_gets_it_later(
    train, idx_folder, workspace, seen, name, tracking_server, capsys
) -> None:
    tracking_server.kill()
    try:
        result = train(f"idx:{idx_folder}", *TO, f"publish.mlflow.uri={seen.url}", f"name={name}")
    finally:
        tracking_server.start()
    assert (result.outcome.status, result.exit_code) == ("promoted", 6)
    remedy = result.to_json()["published"][0]["error"]["remedy"]
    assert f"mnist-pipeline models publish {name}@1 --to mlflow" in remedy
    there = ["--workspace", str(workspace), "--json"]
    assert main(["models", "publish", f"{name}@1", "--to", "mlflow", *there]) == 0
    assert seen.champion(name) == f"{name}@1"


def test_it_keeps_what_a_publisher_promises(seen: Seen, name: str) -> None:
    check_publisher(Mlflow(uri=seen.url, experiment=name))


@pytest.fixture
def a_version(tmp_path: Path) -> Any:
    """A small version of a name, champion of it."""

    def make(name: str) -> FinishedVersion:
        version = small_version(Store.open(tmp_path / name), name)
        return dataclasses.replace(version, is_champion=True)

    return make


def test_an_answer_lost_to_any_request_leaves_one_version(proxy, seen, a_version) -> None:
    Mlflow(uri=proxy.url).publish(a_version("uncut"))
    requests = list(proxy.asked)
    assert sum(each.startswith(("POST", "PUT", "PATCH")) for each in requests) > 10
    for cut in range(1, len(requests) + 1):
        name, count = f"cut-{cut}", len(proxy.asked)
        proxy.after = lambda number, at=count + cut: number == at
        Mlflow(uri=proxy.url).publish(a_version(name))
        assert len(proxy.asked) > count + len(requests), requests[cut - 1]  # it was noticed
        assert (len(seen.runs(name)), len(seen.models(name))) == (1, 1), requests[cut - 1]
        assert seen.versions(name) == {f"{name}@1": 1}
        assert seen.champion(name) == f"{name}@1"
        assert seen.runs(name)[0].info.status == "FINISHED"


def test_a_server_killed_in_the_middle_gets_the_rest_later(
    proxy, seen, a_version, name, tracking_server
) -> None:
    version = a_version(name)

    def kill_at_the_first_file(number: int) -> bool:
        if not proxy.asked[number - 1].startswith("PUT"):
            return False
        tracking_server.kill()
        return True

    proxy.before = kill_at_the_first_file
    with pytest.raises(OutsideError, match="cannot be reached"):
        Mlflow(uri=proxy.url).publish(version)
    proxy.before = lambda number: False
    tracking_server.start()
    assert (len(seen.runs(name)), seen.runs(name)[0].info.status) == (1, "RUNNING")
    Mlflow(uri=proxy.url).publish(version)
    assert (len(seen.runs(name)), len(seen.models(name))) == (1, 1)
    assert seen.runs(name)[0].info.status == "FINISHED"
    assert seen.champion(name) == f"{name}@1"


@pytest.mark.parametrize("where", ["address", "variables"])
def test_credentials_are_used_and_told_nowhere(
    train, idx_folder, workspace, proxy, seen, monkeypatch, where
) -> None:
    proxy.wants, name = ("anna", "open sesame"), f"credentials-{where}"
    if where == "address":
        address = proxy.url.replace("//", "//anna:open%20sesame@")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open sesame")
    assert train(f"idx:{idx_folder}", *TO, f"name={name}").exit_code == 0
    assert seen.versions(name) == {f"{name}@1": 1}
    proxy.wants = ("anna", "another")
    words = ["models", "publish", name, "--to", "mlflow", "--workspace", str(workspace)]
    refused = command(*words)
    assert refused.returncode == 6
    assert "refuses: 401" in refused.stderr
    told = refused.stdout + refused.stderr
    told += "".join(p.read_text("latin-1") for p in workspace.rglob("*") if p.is_file())
    (run,) = seen.runs(name)
    told += str(run.to_dictionary()) + str(seen.client.search_model_versions(f"name = '{name}'"))
    assert "sesame" not in told


def test_an_experiment_that_was_deleted_is_told(seen: Seen, a_version: Any, name: str) -> None:
    seen.client.delete_experiment(seen.client.create_experiment(name))
    with pytest.raises(OutsideError, match="has been deleted") as caught:
        Mlflow(uri=seen.url).publish(a_version(name))
    assert "mlflow experiments restore" in caught.value.remedy
