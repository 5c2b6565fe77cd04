"""The command line: what it prints, what it answers in JSON, what the models commands do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small import PLACES, SETTING_WORDS, train_words

from mnist_pipeline.cli import main
from mnist_pipeline.cli.console import Console
from mnist_pipeline.errors import ConfigError
from mnist_pipeline.store.objects import Store

Answer = tuple[int, dict]


@pytest.fixture
def ask(capsys, place: str):
    """Runs a command with --json: its exit code and its answer."""

    def run(*words: str) -> Answer:
        code = main([*words, "--json", "--workspace", place])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def two_versions(ask, idx_folder: Path, place: str, capsys) -> None:
    """digits@1, champion, and digits@2, held."""
    for seed in ("0", "1"):
        assert main([*train_words(idx_folder, place), "--seed", seed]) == 0
    capsys.readouterr()
    assert [v["status"] for v in ask("models", "list")[1]["versions"]] == ["promoted", "held"]


def test_train_answers_the_documented_object(idx_folder: Path, workspace: Path, capsys) -> None:
    assert main(train_words(idx_folder, workspace)) == 0
    output = capsys.readouterr()
    answer = json.loads(output.out)
    assert {"status", "reasons", "model", "version", "metrics", "dataset", "report"} <= set(answer)
    assert set(answer["metrics"]) == {"accuracy", "log_loss", "ece", "n"}
    assert {"rows", "accepted", "rejected", "digest"} <= set(answer["dataset"])
    stages = ["ingest", "validate", "inspect", "normalize", "train", "evaluate", "publish"]
    assert list(answer["seconds"]) == stages
    assert Path(answer["report"]).is_file()
    # Not a terminal: plain lines, one a stage and input, no control characters.
    lines = output.err.splitlines()
    assert [line.split()[0] for line in lines] == ["ingest", *stages]
    assert "\x1b" not in output.err
    assert "\r" not in output.err


def test_train_for_people(idx_folder: Path, workspace: Path, capsys) -> None:
    words = [word for word in train_words(idx_folder, workspace) if word != "--json"]
    assert main([*words, "--quiet"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert "digits@1: promoted" in output.out
    assert output.out.splitlines()[-1].startswith("report: ")


def test_global_options_stand_before_or_after(workspace: Path, capsys) -> None:
    place = ["--workspace", str(workspace), "--json"]
    assert main([*place, "models", "list"]) == 0
    assert main(["models", "list", *place]) == 0
    assert main(["models", *place, "list"]) == 0
    assert capsys.readouterr().out.splitlines() == ['{"versions": []}'] * 3


def test_the_workspace_comes_from_the_environment(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MNIST_PIPELINE_WORKSPACE", str(tmp_path / "elsewhere"))
    assert main(["models", "list"]) == 0
    assert "mnist-pipeline train" in capsys.readouterr().out
    assert not (tmp_path / "elsewhere").exists()  # a reader makes nothing
    assert main(["models", "verify"]) == 6
    assert "elsewhere" in capsys.readouterr().err


def test_show_config_is_a_file_that_gives_itself(tmp_path: Path, capsys) -> None:
    words = ["train", "--show-config", "--set", "model.hidden=[7, 5]", "--seed", "9"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    (tmp_path / "night.toml").write_text(shown)
    assert main(["train", "--show-config", "--config", str(tmp_path / "night.toml")]) == 0
    assert capsys.readouterr().out == shown
    assert "hidden = [7, 5]" in shown
    assert "seed = 9" in shown


def test_show_config_explains_every_key_and_finds_every_mistake(capsys) -> None:
    assert main(["train", "--show-config"]) == 0
    keys = [line for line in capsys.readouterr().out.splitlines() if " = " in line]
    assert len(keys) > 30
    assert all("  # " in line for line in keys)
    for mistake in ("model.hiden=[3]", "model.kind=sofmax", "data.sources=minst"):
        assert main(["train", "--show-config", "--set", mistake]) == 2


def test_without_a_command_the_help_is_shown(capsys) -> None:
    assert main([]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("Usage:")
    assert output.err == ""


def test_help_is_read_on_stdout_whatever_else_is_asked(capsys) -> None:
    assert main(["train", "--json", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage:")


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_models_show_and_verify(ask, two_versions: None) -> None:
    code, answer = ask("models", "show", "digits@2")
    assert code == 0
    assert answer["verdict"]["status"] == "hold"
    assert answer["verdict"]["against"] == 1
    assert set(answer["files"]) == {
        "model.json",
        "model.safetensors",
        "contract.json",
        "normalizer.json",
        "history.json",
        "metrics.json",
        "profile.json",
        "golden.parquet",
        "report.html",
    }
    code, answer = ask("models", "verify")
    assert code == 0
    assert [row["ok"] for row in answer["versions"]] == [True, True]


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_promote_by_hand_and_roll_back(ask, two_versions: None) -> None:
    code, answer = ask("models", "promote", "digits@2", "--reason", "looked at it")
    assert (code, answer["previous"]) == (0, 1)
    (entry,) = ask("models", "show", "digits@champion")[1]["champion"]
    assert entry["reason"] == "looked at it"
    assert entry["by"] not in ("", "gate")

    code, answer = ask("models", "rollback", "digits")
    assert (code, answer["version"]) == (0, 1)
    champions = [v["version"] for v in ask("models", "list")[1]["versions"] if v["channels"]]
    assert champions == [1]
    code, answer = ask("models", "rollback", "digits")
    assert code == answer["error"]["code"] == 2


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_a_damaged_version_is_not_promoted(ask, two_versions: None, place: str) -> None:
    Store.open(place).put("models/digits/versions/2/golden.parquet", b"")
    code, answer = ask("models", "promote", "digits@2", "--reason", "hope")
    assert code == answer["error"]["code"] == 5
    assert ask("models", "show", "digits")[1]["version"] == 1


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_another_exam_holds_until_it_is_chosen(ask, idx_folder: Path) -> None:
    words = ["--engine", "plain", "--quiet", *SETTING_WORDS]
    assert ask("train", "--source", "synthetic:n=500", *words)[0] == 0
    code, held = ask("train", "--source", f"idx:{idx_folder}", *words)
    assert (code, held["status"]) == (0, "held")
    (digest,) = [word for word in held["reasons"][0].split() if "(" in word][:1]
    digest = digest.strip("(),")

    code, answer = ask("models", "exam", "set", "digits", digest, "--reason", "real ones now")
    assert code == 0
    assert answer["rows"] == 200
    code, answer = ask("train", "--source", f"idx:{idx_folder}", *words)
    assert code == 0
    assert answer["metrics"]["n"] == 200
    assert not any("exam_changed" in reason for reason in answer["reasons"])


@pytest.mark.parametrize(
    "words",
    [
        ["models", "show", "nobody"],
        ["models", "show", "digits@99"],
        ["models", "show", "digits@latest"],
        ["models", "promote", "digits@99", "--reason", "x"],
        ["models", "promote", "digits@1"],
        ["models", "rollback", "nobody"],
        ["models", "list", "nobody"],
        ["models", "exam", "set", "digits", "beef", "--reason", "x"],
        ["plugins", "show", "mpl"],
        ["modles"],
    ],
)
def test_mistakes_are_explained(ask, two_versions: None, words: list[str]) -> None:
    code, answer = ask(*words)
    assert code == answer["error"]["code"] == 2
    assert answer["error"]["remedy"]


def test_plugins_are_listed_and_described(ask) -> None:
    listed = {row["name"] for row in ask("plugins")[1]["plugins"]}
    assert {"csv.v1", "scale.v1", "mlp.v1", "mcnemar.v1"} <= listed
    answer = ask("plugins", "show", "mlp")[1]
    assert {option["name"] for option in answer["options"]} == {"hidden", "init", "dropout"}
    assert all(option["help"] for option in answer["options"])


@pytest.mark.slow
def test_the_module_runs_too(idx_folder: Path, workspace: Path) -> None:
    words = train_words(idx_folder, workspace)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "flows.training", *words], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["status"] == "promoted"


@pytest.mark.slow
def test_a_closed_pipe_is_no_error_and_a_full_one_is_told(workspace: Path) -> None:
    program = Path(sys.executable).with_name("mnist-pipeline")
    script = f"set -o pipefail; {program} --help | head -1 >/dev/null"
    assert subprocess.run(["bash", "-c", script]).returncode == 0
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([program, "plugins"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_sigterm_is_an_interrupt(workspace: Path) -> None:
    program = str(Path(sys.executable).with_name("mnist-pipeline"))
    words = ["train", "--engine", "plain", "--source", "synthetic:n=20000"]
    command = [program, *words, "--set", "train.epochs=500", "--workspace", str(workspace)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("normalize"):
                process.terminate()
                break
        assert "interrupted" in process.stderr.read()
    assert process.returncode == 130


def test_facts_of_any_kind_are_told_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"environment": {"numpy": "2.4"}, "rejected": {"image_missing": 1200}}
    Console().error(ConfigError("no", **facts, remedy="yes"))
    told = capsys.readouterr().err
    assert "    numpy: 2.4" in told
    assert "  rejected: 1,200 image_missing" in told


def test_an_answer_nobody_can_read_or_store(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "mnist-pipeline"
    for words, redirect, code in (
        ("--json plugins", ">&-", 0),
        ("--json plugins", "| true", 0),
        ("--json plugins", ">/dev/full", 6),
        ("--json plugins show nosuch", ">/dev/full", 2),
    ):
        script = f"set -o pipefail; {program} {words} {redirect}"
        done = subprocess.run(["bash", "-c", script], stderr=subprocess.PIPE, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (words, done.stderr)
