"""`mnist-pipeline deploy`: what is missing is said, what is wrong is refused, twice is once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from real import ROOT, Prefect, wait_for

from mnist_pipeline.cli import main

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),
]

Deploy = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `deployments/`, and a folder in which somebody works."""
    for name in ("prefect.yaml", "nightly.toml", "scoring.toml"):
        (tmp_path / name).write_bytes((ROOT / "deployments" / name).read_bytes())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def deploy(folder: Path, capsys: pytest.CaptureFixture[str]) -> Deploy:
    """`mnist-pipeline deploy`: exit code and JSON object."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        before = {name for name in os.environ if name.startswith("MNIST_")}
        code = main(["deploy", "--file", str(folder / "prefect.yaml"), "--json", *words])
        assert {name for name in os.environ if name.startswith("MNIST_")} == before
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, json.loads(captured.out)

    return run


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/api"])
def test_without_a_server_it_says_how_to_start_one(url: str | None, deploy: Deploy) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    given = {"updates": {PREFECT_API_URL: url}} if url else {"restore_defaults": {PREFECT_API_URL}}
    with temporary_settings(**given):
        code, data = deploy()
    assert code == 6
    assert "prefect server start" in data["error"]["remedy"]
    assert "prefect config set PREFECT_API_URL=" in data["error"]["remedy"]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("file", "words", "headline"),
    [
        ("prefect.yaml", "deployments: [", "the deployments are not valid YAML"),
        ("prefect.yaml", "name: x", "the file does not list deployments"),
        ("prefect.yaml", "deployments: [{name: x}]", "the file does not list deployments"),
        ("nightly.toml", "[data]\nsource = 1", "unknown key 'data.source'"),
        ("nightly.toml", "[data", "the configuration file is not valid TOML"),
        ("scoring.toml", "input = []", "unknown key 'input'"),
        ("scoring.toml", "inputs = 3", "the configuration of the scoring is not valid"),
        ("scoring.toml", 'inputs = ["a"]', "the configuration of the scoring is not valid"),
        (
            "scoring.toml",
            'inputs = ["a"]\noutput = "b"\n[options]\ntop_k = -1',
            "the configuration of the scoring is not valid",
        ),
        (
            "scoring.toml",
            'inputs = ["a"]\noutput = "b"\ndask = "tcp://127.0.0.1:8786"',
            "a deployment for workers cannot score on Dask",
        ),
    ],
)
def test_what_is_wrong_is_said(
    file: str, words: str, headline: str, deploy: Deploy, folder: Path
) -> None:
    (folder / file).write_text(words)
    code, data = deploy()
    assert code == 2
    assert data["error"]["headline"] == headline
    assert data["error"]["remedy"]


@pytest.mark.usefixtures("prefect_server")
def test_files_that_are_not_there(deploy: Deploy, folder: Path) -> None:
    (folder / "nightly.toml").unlink()
    code, data = deploy()
    assert (code, data["error"]["headline"]) == (2, "the configuration file cannot be read")
    (folder / "prefect.yaml").unlink()
    code, data = deploy()
    assert (code, data["error"]["headline"]) == (2, "the deployments cannot be read")


def test_everything_is_registered_and_again(prefect: Prefect, folder: Path) -> None:
    (folder / "here/landing").mkdir()
    (folder / "here/landing/a.parquet").write_bytes(b"PAR1")
    file = ("--file", str(folder / "prefect.yaml"))
    once = prefect.deploy(*file, "--workspace", "elsewhere", cwd=folder / "here")
    again = prefect.deploy(*file, "--workspace", "elsewhere", cwd=folder / "here")
    assert once == again
    assert once["workspace"] == str(folder / "here/elsewhere")
    assert once["folder"] == str(folder / "here")
    plans = {plan["deployment"]: plan for plan in once["deployments"]}
    assert set(plans) == {"training/nightly", "scoring/daily", "housekeeping/weekly"}
    for plan in plans.values():
        assert plan["active"]
        assert plan["next"]
        assert plan["timezone"] == "Europe/Berlin"
        assert plan["workspace"] == once["workspace"]
    assert len(once["automations"]) == 2
    assert [line.partition(":")[0] for line in once["missing"]] == ["no worker is online"]

    for name in plans:
        found = prefect.get(f"deployments/name/{name}")
        assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert found["global_concurrency_limit"]["limit"] == 1
        assert len(found["schedules"]) == 1
        (pull,) = found["pull_steps"]
        assert pull["prefect.deployments.steps.set_working_directory"] == {
            "directory": str(folder / "here")
        }
    scoring = prefect.get("deployments/name/scoring/daily")["parameters"]
    assert scoring["inputs"] == [str(folder / "here/landing")]
    assert scoring["output"] == str(folder / "here/answers")
    assert scoring["model"] is None
    training = prefect.get("deployments/name/training/nightly")["parameters"]
    assert training["config"]["gate"]["min_accuracy"] == 0.95

    (folder / "here/elsewhere").mkdir()
    done = prefect.run("status", "--workspace", "elsewhere", "--json", cwd=folder / "here")
    schedule = json.loads(done.stdout)["schedule"]
    assert schedule["deployments"] == once["deployments"]
    assert schedule["problem"] is None
    (folder / "here/other").mkdir()
    done = prefect.run("status", "--workspace", "other", cwd=folder / "here")
    assert "nothing is deployed" in done.stdout


def test_prefect_itself_deploys_the_same_file(prefect: Prefect) -> None:
    """As `deployments/prefect.yaml` says, by hand from its folder."""
    words = ("--no-prompt", "deploy", "--all")
    process = prefect.start("deploy", *words, cwd=ROOT / "deployments")
    assert process.wait(120) == 0
    for name in ("training/nightly", "scoring/daily", "housekeeping/weekly"):
        found = prefect.get(f"deployments/name/{name}")
        assert found["parameters"]["workspace"] == str(ROOT / "workspace")
        prefect.delete_deployment(name)


def test_schedules_keep_clear_of_the_hours_in_which_clocks_change() -> None:
    document = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
    for spec in document["deployments"]:
        for schedule in spec["schedules"]:
            minute, hour, *_ = schedule["cron"].split()
            assert schedule["timezone"]
            assert 4 <= int(hour) <= 22
            assert minute.isdecimal()


def test_the_five_commands_of_the_readme(tmp_path: Path) -> None:
    """All but the first, which installs; on another port, in a home of their own."""
    text = (ROOT / "deployments" / "README.md").read_text()
    install, configure, serve, register, work = (
        text.partition("```sh\n")[2].partition("```")[0].strip().splitlines()
    )
    assert "pip install" in install
    prefect = Prefect(tmp_path / "home")
    for name in ("PREFECT_API_URL", "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"):
        del prefect.environment[name]
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "deployments", folder / "deployments")

    def shell(line: str) -> str:
        line = line.replace("127.0.0.1:4200", f"127.0.0.1:{prefect.port}")
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = prefect.environment | {"PATH": programs}
        done = subprocess.run(
            ["bash", "-euc", line], env=environment, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        shell(configure)
        shell(f"{serve} --port {prefect.port}")
        told = json.loads(shell(f"{register} --json"))
        assert told["workspace"] == str(folder / "workspace")
        assert not any("slot" in line for line in told["missing"])
        nightly = next(p for p in told["deployments"] if p["deployment"] == "training/nightly")
        assert nightly["next"]
        assert work == "prefect worker start --pool mnist-pipeline"
        prefect.start_worker(folder)
        workers = "work_pools/mnist-pipeline/workers/filter"
        (worker,) = wait_for(lambda: prefect.post(workers))
        assert worker["status"] == "ONLINE"
    finally:
        prefect.stop()
        shell("prefect server stop")
